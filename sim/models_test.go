package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
)

// Every model of the project has a simulated device that the real driver reads without a fault, and what it reads is true.
func TestEveryModelIsSimulated(t *testing.T) {
	for _, p := range modbus.Embedded() {
		t.Run(p.Model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				port := "serial:///dev/sim/line?" + p.Bus
				if !p.Serial {
					port = "tcp://10.0.0.1:502"
				}
				s, a := live(t, &Scenario{Version: 1, Name: "one", Site: Place{Lat: 45.36, Lon: 9.69},
					Sun:  Sun{From: "2026-06-21T11:00"},
					Load: Load{Base: 1000, Peak: 3000},
					Lines: []Line{{ID: "line", Port: port, Devices: []Device{
						{ID: "dev", Model: p.Model, Unit: p.Unit.Default, Every: max(10*time.Second, p.MinEvery),
							IO: channelsOf(p)},
					}}}}, 1, 5*time.Minute, nil)
				reports := a.of("dev")
				if len(reports) < 4 {
					t.Fatalf("%d reports in five minutes", len(reports))
				}
				good := map[string]int{}
				for _, r := range reports {
					if r.Err != nil {
						t.Fatalf("%s: %v", r.At, r.Err)
					}
					for _, x := range r.Readings {
						if x.Quality == drivers.Good {
							good[x.Point]++
						}
					}
				}
				if lies := invented(s, a, 10*time.Second); len(lies) > 0 {
					t.Errorf("%d readings were not true, the first: %s", len(lies), lies[0])
				}
				for _, point := range expected(p.Kind) {
					if good[point] == 0 {
						t.Errorf("%s was never read; there were %v", point, good)
					}
				}
			})
		})
	}
}

// expected lists points without which a device of a kind is of no use.
func expected(k catalogue.DeviceKind) []string {
	switch k {
	case catalogue.Inverter:
		return []string{"state", "ac_power", "ac_energy"}
	case catalogue.Meter:
		return []string{"import_energy"}
	case catalogue.Barrier:
		return []string{"state", "position", "cycles"}
	case catalogue.UPS:
		return []string{"battery_charge"}
	case catalogue.IO:
		return []string{"door_open", "mains_ok"}
	}
	return nil
}

// channelsOf hangs something on the first inputs of an I/O module.
func channelsOf(p *modbus.Profile) []Channel {
	if p.Kind != catalogue.IO {
		return nil
	}
	var out []Channel
	for _, ch := range p.Channels {
		switch {
		case ch.Unit == "mA":
			out = append(out, Channel{At: ch.Name, Point: "level", Is: "level", Fills: time.Hour, Value: 30})
		case ch.Unit == "" && !ch.Write && len(out) == 0:
			out = append(out, Channel{At: ch.Name, Point: "door_open", Is: "door", Every: 2 * time.Minute})
		case ch.Unit == "" && !ch.Write && len(out) == 1:
			out = append(out, Channel{At: ch.Name, Point: "mains_ok", Is: "mains"})
		}
	}
	return out
}
