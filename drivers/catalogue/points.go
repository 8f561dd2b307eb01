// Package catalogue names what devices measure and are: points with their types, units, kinds and labels, values, and
// kinds of device. A name means the same in code, configuration, notes and on MQTT.
package catalogue

import (
	"fmt"
	"strconv"
	"strings"
)

// PointKind says how a point behaves over time.
type PointKind string

// The kinds of point.
const (
	Gauge     PointKind = "gauge"   // goes up and down
	Counter   PointKind = "counter" // only rises, until it is reset or replaced
	StateKind PointKind = "state"   // one of a few words, or a truth value
	TextKind  PointKind = "text"    // free text
)

// Point is an entry of the catalogue: the meaning of a name, whichever device it comes from.
type Point struct {
	Key  string
	Type Type
	Unit string // UCUM; "" for states and texts
	Kind PointKind
	It   string   // label, Italian
	En   string   // label, English
	Enum []string // of a state of type text: every word it can hold
}

// MaxStrings is the number of DC inputs (dc1_... to dcN_...) in the catalogue.
const MaxStrings = 32

// InverterStates are the words of the inverter's point "state".
var InverterStates = []string{"off", "sleeping", "starting", "producing", "throttled", "stopping", "fault", "standby"}

// BarrierStates are the words of a barrier's point "state".
var BarrierStates = []string{"open", "closed", "opening", "closing", "stopped", "partial", "calibrating", "fault",
	"unknown"}

// points lists every point once, in the order in which people want to see them. Add in this manner, never a synonym.
var points = []Point{
	{"state", Text, "", StateKind, "Stato", "State",
		append(append([]string{}, InverterStates...), without(BarrierStates, InverterStates)...)},
	{"alarm", Text, "", TextKind, "Allarme", "Alarm", nil},
	{"alarm_code", Text, "", TextKind, "Codice di allarme", "Alarm code", nil},

	{"ac_power", Float, "W", Gauge, "Potenza AC", "AC power", nil},
	{"ac_power_l1", Float, "W", Gauge, "Potenza AC L1", "AC power L1", nil},
	{"ac_power_l2", Float, "W", Gauge, "Potenza AC L2", "AC power L2", nil},
	{"ac_power_l3", Float, "W", Gauge, "Potenza AC L3", "AC power L3", nil},
	{"ac_voltage_l1", Float, "V", Gauge, "Tensione L1", "Voltage L1", nil},
	{"ac_voltage_l2", Float, "V", Gauge, "Tensione L2", "Voltage L2", nil},
	{"ac_voltage_l3", Float, "V", Gauge, "Tensione L3", "Voltage L3", nil},
	{"ac_voltage_l1_l2", Float, "V", Gauge, "Tensione L1-L2", "Voltage L1-L2", nil},
	{"ac_voltage_l2_l3", Float, "V", Gauge, "Tensione L2-L3", "Voltage L2-L3", nil},
	{"ac_voltage_l3_l1", Float, "V", Gauge, "Tensione L3-L1", "Voltage L3-L1", nil},
	{"ac_current", Float, "A", Gauge, "Corrente AC", "AC current", nil},
	{"ac_current_l1", Float, "A", Gauge, "Corrente L1", "Current L1", nil},
	{"ac_current_l2", Float, "A", Gauge, "Corrente L2", "Current L2", nil},
	{"ac_current_l3", Float, "A", Gauge, "Corrente L3", "Current L3", nil},
	{"frequency", Float, "Hz", Gauge, "Frequenza", "Frequency", nil},
	{"power_factor", Float, "1", Gauge, "Fattore di potenza", "Power factor", nil},
	{"reactive_power", Float, "var", Gauge, "Potenza reattiva", "Reactive power", nil},
	{"apparent_power", Float, "V.A", Gauge, "Potenza apparente", "Apparent power", nil},

	{"ac_energy", Float, "kW.h", Counter, "Energia AC totale", "AC energy, lifetime", nil},
	{"ac_energy_today", Float, "kW.h", Counter, "Energia AC oggi", "AC energy today", nil},
	{"import_energy", Float, "kW.h", Counter, "Energia prelevata", "Imported energy", nil},
	{"export_energy", Float, "kW.h", Counter, "Energia immessa", "Exported energy", nil},
	{"reactive_import_energy", Float, "kvar.h", Counter, "Energia reattiva prelevata", "Imported reactive energy", nil},
	{"reactive_export_energy", Float, "kvar.h", Counter, "Energia reattiva immessa", "Exported reactive energy", nil},

	{"dc_power", Float, "W", Gauge, "Potenza DC", "DC power", nil},
	{"battery_voltage", Float, "V", Gauge, "Tensione batteria", "Battery voltage", nil},
	{"battery_current", Float, "A", Gauge, "Corrente batteria", "Battery current", nil},
	{"battery_power", Float, "W", Gauge, "Potenza batteria", "Battery power", nil},
	{"battery_charge", Float, "%", Gauge, "Carica batteria", "Battery charge", nil},

	{"temperature", Float, "Cel", Gauge, "Temperatura", "Temperature", nil},
	{"humidity", Float, "%", Gauge, "Umidità", "Humidity", nil},
	{"power_limit", Float, "%", Gauge, "Limite di potenza", "Power limit", nil},

	{"position", Float, "%", Gauge, "Posizione", "Position", nil},
	{"cycles", Float, "1", Counter, "Manovre", "Cycles", nil},
	{"photocell_clear", Bool, "", StateKind, "Fotocellula libera", "Photocell clear", nil},
	{"loop_occupied", Bool, "", StateKind, "Spira occupata", "Loop occupied", nil},

	{"door_open", Bool, "", StateKind, "Porta aperta", "Door open", nil},
	{"mains_ok", Bool, "", StateKind, "Rete presente", "Mains present", nil},
	{"on_battery", Bool, "", StateKind, "Su batteria", "On battery", nil},
	{"camera_power", Bool, "", StateKind, "Alimentazione telecamera", "Camera power", nil},
	{"reachable", Bool, "", StateKind, "Raggiungibile", "Reachable", nil},
	{"runtime", Float, "min", Gauge, "Autonomia", "Runtime", nil},
	{"load_power", Float, "W", Gauge, "Potenza del carico", "Load power", nil},

	{"present", Float, "1", Gauge, "Presenti", "Present", nil},
	{"capacity", Float, "1", Gauge, "Capienza", "Capacity", nil},
	{"level", Float, "%", Gauge, "Livello", "Level", nil},
	{"volume", Float, "L", Gauge, "Volume", "Volume", nil},
	{"full", Bool, "", StateKind, "Pieno", "Full", nil},
}

// Points returns the catalogue, without the numbered DC inputs. The caller must not change it.
func Points() []Point { return points }

// PointOf returns the catalogue's entry for a key, among them dc1_voltage, dc1_current, dc1_power to dcN_...
func PointOf(key string) (Point, bool) {
	if p, ok := byKey[key]; ok {
		return p, true
	}
	return dcPoint(key)
}

// PointOrder ranks keys as the catalogue lists them: DC inputs by number after everything else, unknown keys last.
func PointOrder(key string) int {
	if i, ok := orderOf[key]; ok {
		return i
	}
	if n, q, ok := dcParts(key); ok {
		return len(points) + 3*n + strings.Index("vcp", q[:1])
	}
	return len(points) + 3*MaxStrings + 3
}

// byKey and orderOf index the catalogue; neither changes.
var byKey, orderOf = func() (map[string]Point, map[string]int) {
	m, o := make(map[string]Point, len(points)), make(map[string]int, len(points))
	for i, p := range points {
		m[p.Key], o[p.Key] = p, i
	}
	return m, o
}()

// dcParts splits dc3_voltage into 3 and voltage.
func dcParts(key string) (n int, quantity string, ok bool) {
	rest, ok := strings.CutPrefix(key, "dc")
	if !ok {
		return 0, "", false
	}
	num, quantity, ok := strings.Cut(rest, "_")
	if !ok {
		return 0, "", false
	}
	n, err := strconv.Atoi(num)
	if err != nil || n < 1 || n > MaxStrings || strconv.Itoa(n) != num {
		return 0, "", false
	}
	switch quantity {
	case "voltage", "current", "power":
		return n, quantity, true
	}
	return 0, "", false
}

func dcPoint(key string) (Point, bool) {
	n, quantity, ok := dcParts(key)
	if !ok {
		return Point{}, false
	}
	p := Point{Key: key, Type: Float, Kind: Gauge}
	switch quantity {
	case "voltage":
		p.Unit, p.It, p.En = "V", fmt.Sprintf("Tensione stringa %d", n), fmt.Sprintf("DC %d voltage", n)
	case "current":
		p.Unit, p.It, p.En = "A", fmt.Sprintf("Corrente stringa %d", n), fmt.Sprintf("DC %d current", n)
	case "power":
		p.Unit, p.It, p.En = "W", fmt.Sprintf("Potenza stringa %d", n), fmt.Sprintf("DC %d power", n)
	}
	return p, true
}

func without(list, drop []string) []string {
	var out []string
	for _, s := range list {
		seen := false
		for _, d := range drop {
			seen = seen || s == d
		}
		if !seen {
			out = append(out, s)
		}
	}
	return out
}
