package sim

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // scenarios name time zones; a box may have none installed

	"github.com/goccy/go-yaml"

	"bordo/contract"
	"bordo/drivers/catalogue"
)

// Scenario is a simulated site: where it is, what it contains, how it is wired and what goes wrong. It is a plain
// value: a test may construct one, or read one of the files.
type Scenario struct {
	Version int        `yaml:"version"` // 1
	Name    string     `yaml:"name"`    // also the node id
	About   string     `yaml:"about"`   // what it shows, for a person
	Site    Place      `yaml:"site"`
	Sun     Sun        `yaml:"sun"`
	Clouds  float64    `yaml:"clouds"` // 0 cloudless .. 1 overcast, on the average
	Load    Load       `yaml:"load"`
	Lines   []Line     `yaml:"lines"`
	Mains   FaultTable `yaml:"mains"`
	Broker  FaultTable `yaml:"broker"`
	Link    FaultTable `yaml:"link"` // before the broker of a site that is served; in a test, of a Proxy
	Host    FaultTable `yaml:"box"`
}

// Place is where a site is.
type Place struct {
	Name     string  `yaml:"name"`
	Lat      float64 `yaml:"lat"`
	Lon      float64 `yaml:"lon"`
	Timezone string  `yaml:"timezone"` // Europe/Rome if empty
}

// Sun detaches the sun of a scenario from the real one. With From, the site begins at that local time, so that
// something happens at any hour. With Pace, its day passes that many times as fast. Energy is always counted in the
// agent's time, so that it stays the integral of the power that the agent sees.
type Sun struct {
	From string  `yaml:"from"` // 2026-06-21T10:30; empty: now
	Pace float64 `yaml:"pace"` // 0 means 1
}

// sunFormat is how Sun.From is written.
const sunFormat = "2006-01-02T15:04"

// Load is the consumption of the building behind the meter, in W.
type Load struct {
	Base float64 `yaml:"base"` // at night
	Peak float64 `yaml:"peak"` // in working hours
}

// FaultTable is a list of faults without further settings.
type FaultTable struct {
	Faults []Fault `yaml:"faults"`
}

// Line is a port and what hangs on it. Port is the name by which an agent opens it inside a test. When a scenario is
// served for real, tcp:// and rtu+tcp:// become loopback ports and serial:// becomes a pseudo terminal.
type Line struct {
	ID      string   `yaml:"id"`
	Port    string   `yaml:"port"`
	Devices []Device `yaml:"devices"`
	Faults  []Fault  `yaml:"faults"`
}

// Device is one piece of hardware: the model defines its protocol, one of the other fields what it is.
type Device struct {
	ID    string        `yaml:"id"`
	Model string        `yaml:"model"`
	Unit  int           `yaml:"unit"`
	Every time.Duration `yaml:"every"` // for the configuration that is written for the agent

	Inverter *Inverter `yaml:"inverter"`
	Meter    *Meter    `yaml:"meter"`
	Barrier  *Barrier  `yaml:"barrier"`
	UPS      *UPS      `yaml:"ups"`
	IO       []Channel `yaml:"io"`
	From     string    `yaml:"from"` // a capture: the device gives the recorded answers
}

// Inverter is a photovoltaic plant behind a device.
type Inverter struct {
	Rated    float64       `yaml:"rated"`     // W
	Strings  int           `yaml:"strings"`   // 1 if 0
	Shaded   []int         `yaml:"shaded"`    // strings behind a chimney in the afternoon, counted from 1
	Energy   float64       `yaml:"energy"`    // kWh that it has made before
	SelfTest time.Duration `yaml:"self_test"` // of the interface protection; 0: a minute
	Night    string        `yaml:"night"`     // sleep (default): answers all night; silent: does not
}

// Meter is an energy meter.
type Meter struct {
	Measures string  `yaml:"measures"` // exchange (default): load less production; production; load
	Import   float64 `yaml:"import"`   // kWh that it has counted before
	Export   float64 `yaml:"export"`
}

// Barrier is a road barrier.
type Barrier struct {
	Travel    time.Duration `yaml:"travel"`     // from closed to open; 0: 4 s
	AutoClose time.Duration `yaml:"auto_close"` // closes by itself after so long open; 0: never
	Traffic   time.Duration `yaml:"traffic"`    // mean interval between vehicles; 0: none
	Cycles    uint64        `yaml:"cycles"`     // that it has made before
}

// UPS is an uninterruptible supply.
type UPS struct {
	Capacity float64 `yaml:"capacity"` // W.h; 240 if 0
	Load     float64 `yaml:"load"`     // W; 40 if 0
}

// Channel is what hangs on an input or output of an I/O module.
type Channel struct {
	At    string        `yaml:"at"`    // the channel's name in the profile: di1, ai0
	Point string        `yaml:"point"` // what the agent is to make of it
	Is    string        `yaml:"is"`    // door, mains, level, value
	Every time.Duration `yaml:"every"` // door: is opened about so often, for half a minute
	Fills time.Duration `yaml:"fills"` // level: from empty to full; 4 to 20 mA
	Value float64       `yaml:"value"` // value: constant, in the channel's unit; level: per cent at the beginning
}

// maxScenario bounds a scenario's file.
const maxScenario = 1 << 20

//go:embed scenarios/*.yaml
var shipped embed.FS

// Scenarios lists the scenarios that are built in.
func Scenarios() []string {
	files, err := shipped.ReadDir("scenarios")
	if err != nil {
		panic(fmt.Sprintf("sim: embedded scenarios: %v", err))
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(f.Name(), ".yaml")
	}
	return names
}

// LoadScenario reads a scenario: a file, or the name of one that is built in.
func LoadScenario(name string) (*Scenario, error) {
	if slices.Contains(Scenarios(), name) {
		text, err := shipped.ReadFile(path.Join("scenarios", name+".yaml"))
		if err != nil {
			return nil, fmt.Errorf("read scenario %s: %w", name, err)
		}
		return ParseScenario(name, text)
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(name, "./") {
		return nil, fmt.Errorf("scenario %q: no such file, and not one of those built in: %s", name,
			strings.Join(Scenarios(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	return ParseScenario(name, text)
}

// ParseScenario reads a scenario's text. Keys are strict; the error lists all semantic faults at once.
func ParseScenario(name string, text []byte) (*Scenario, error) {
	if len(text) > maxScenario {
		return nil, fmt.Errorf("scenario %s: more than %d bytes", name, maxScenario)
	}
	var s Scenario
	// Check reports an empty file
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("scenario %s: %s", name, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", name, err)
	}
	return &s, nil
}

// Check says everything that is wrong with a scenario, each with its place.
func (s *Scenario) Check() error {
	var faults []error
	bad := func(place, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: "+format, append([]any{place}, args...)...))
	}
	if s.Version != 1 {
		bad("version", "must be 1 (got %d)", s.Version)
	}
	if err := contract.CheckID(s.Name); err != nil {
		bad("name", "%w", err)
	}
	if !between(s.Site.Lat, -90, 90) || !between(s.Site.Lon, -180, 180) {
		bad("site", "no such place: lat %v, lon %v", s.Site.Lat, s.Site.Lon)
	}
	if _, err := s.location(); err != nil {
		bad("site.timezone", "%w", err)
	}
	if _, err := time.Parse(sunFormat, s.Sun.From); s.Sun.From != "" && err != nil {
		bad("sun.from", "must be like 2026-06-21T10:30 (got %q)", s.Sun.From)
	}
	if !between(s.Sun.Pace, 0, 3600) {
		bad("sun.pace", "must be 0 to 3600 (got %v)", s.Sun.Pace)
	}
	if !between(s.Clouds, 0, 1) {
		bad("clouds", "must be 0 to 1 (got %v)", s.Clouds)
	}
	if !between(s.Load.Base, 0, math.MaxFloat64) || !between(s.Load.Peak, s.Load.Base, math.MaxFloat64) {
		bad("load", "must not be negative, and peak not below base (got %v, %v)", s.Load.Base, s.Load.Peak)
	}
	for place, table := range map[string]FaultTable{"mains": s.Mains, "broker": s.Broker, "link": s.Link,
		"box": s.Host} {
		for i, f := range table.Faults {
			if err := f.check(place); err != nil {
				bad(fmt.Sprintf("%s.faults[%d]", place, i), "%w", err)
			}
		}
	}
	s.checkLines(bad)
	return errors.Join(faults...)
}

func (s *Scenario) checkLines(bad func(place, format string, args ...any)) {
	lines, ports, devices := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, l := range s.Lines {
		at := fmt.Sprintf("lines[%d]", i)
		if err := contract.CheckID(l.ID); err != nil {
			bad(at+".id", "%w", err)
		}
		if lines[l.ID] {
			bad(at+".id", "%q is there twice", l.ID)
		}
		lines[l.ID] = true
		if e, err := endpointOf(l.Port); err != nil {
			bad(at+".port", "%w", err)
		} else if ports[e.Key()] {
			bad(at+".port", "%s is there twice", l.Port)
		} else {
			ports[e.Key()] = true
		}
		units := map[int]bool{}
		for j, d := range l.Devices {
			at := fmt.Sprintf("lines[%d].devices[%d]", i, j)
			if err := contract.CheckDevice(d.ID); err != nil {
				bad(at+".id", "%w", err)
			}
			if devices[d.ID] {
				bad(at+".id", "%q is there twice", d.ID)
			}
			devices[d.ID] = true
			d.checkModbus(at, units, bad) // the only protocol that scenarios have; New reports an unknown model
			d.check(at, bad)
		}
		for j, f := range l.Faults {
			at := fmt.Sprintf("lines[%d].faults[%d]", i, j)
			if err := f.check("line"); err != nil {
				bad(at, "%w", err)
			}
			if f.Device != "" && !slices.ContainsFunc(l.Devices, func(d Device) bool { return d.ID == f.Device }) {
				bad(at+".device", "no device %q on this line", f.Device)
			}
		}
	}
}

func (d Device) check(at string, bad func(place, format string, args ...any)) {
	if d.Every < 0 {
		bad(at+".every", "must not be negative (got %s)", d.Every)
	}
	kinds := 0
	if d.Inverter != nil {
		kinds++
		if d.Inverter.Rated <= 0 || !between(d.Inverter.Rated, 0, math.MaxFloat64) {
			bad(at+".inverter.rated", "must be more than 0 W (got %v)", d.Inverter.Rated)
		}
		if !between(d.Inverter.Energy, 0, math.MaxFloat64) {
			bad(at+".inverter.energy", "must not be negative (got %v)", d.Inverter.Energy)
		}
		for _, n := range d.Inverter.Shaded {
			if n < 1 || n > max(1, d.Inverter.Strings) {
				bad(at+".inverter.shaded", "there is no string %d of %d", n, max(1, d.Inverter.Strings))
			}
		}
		if n := d.Inverter.Night; n != "" && n != "sleep" && n != "silent" {
			bad(at+".inverter.night", "must be sleep or silent (got %q)", n)
		}
		if d.Inverter.Strings < 0 || d.Inverter.Strings > 32 {
			bad(at+".inverter.strings", "must be 1 to 32 (got %d)", d.Inverter.Strings)
		}
	}
	if d.Meter != nil {
		kinds++
		if !between(d.Meter.Import, 0, math.MaxFloat64) || !between(d.Meter.Export, 0, math.MaxFloat64) {
			bad(at+".meter", "import and export must not be negative (got %v, %v)", d.Meter.Import, d.Meter.Export)
		}
		if m := d.Meter.Measures; m != "" && m != "exchange" && m != "production" && m != "load" {
			bad(at+".meter.measures", "must be exchange, production or load (got %q)", m)
		}
	}
	if d.Barrier != nil {
		kinds++
		if d.Barrier.Travel < 0 || d.Barrier.AutoClose < 0 || d.Barrier.Traffic < 0 {
			bad(at+".barrier", "times must not be negative")
		}
	}
	if d.UPS != nil {
		kinds++
		if !between(d.UPS.Capacity, 0, math.MaxFloat64) || !between(d.UPS.Load, 0, math.MaxFloat64) {
			bad(at+".ups", "capacity and load must not be negative")
		}
	}
	if d.IO != nil {
		kinds++
		for i, c := range d.IO {
			c.check(fmt.Sprintf("%s.io[%d]", at, i), bad)
		}
	}
	if kinds > 1 {
		bad(at, "must be one of inverter, meter, barrier, ups, io (got %d of them)", kinds)
	}
}

func (c Channel) check(at string, bad func(place, format string, args ...any)) {
	if _, ok := catalogue.PointOf(c.Point); !ok {
		bad(at+".point", "%q is not in the catalogue", c.Point)
	}
	switch c.Is {
	case "mains", "value":
	case "door":
		if c.Every <= 0 {
			bad(at+".every", "must say how often the door is opened")
		}
	case "level":
		if c.Fills <= 0 || !between(c.Value, 0, 100) {
			bad(at, "fills must be more than 0, value 0 to 100 (got %s, %v)", c.Fills, c.Value)
		}
	default:
		bad(at+".is", "must be door, mains, level or value (got %q)", c.Is)
	}
}

func (s *Scenario) location() (*time.Location, error) {
	if s.Site.Timezone == "" {
		return time.LoadLocation("Europe/Rome")
	}
	return time.LoadLocation(s.Site.Timezone)
}
