package agent

import (
	"errors"
	"slices"
	"sync"
	"time"

	"bordo/agent/config"
	"bordo/agent/phases"
	"bordo/agent/uplink"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/line"
)

// Status is what the agent knows of itself, as `bordo status` shows it. Times are of the wall clock.
type Status struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	// the agent's own time of day, which differs from that of a clock that is not set
	Now        time.Time           `json:"now,omitzero"`
	Clock      contract.Clock      `json:"clock"`
	Simulation bool                `json:"simulation,omitempty"`
	Config     ConfigStatus        `json:"config,omitzero"`
	Broker     uplink.BrokerStatus `json:"broker"`
	Store      StoreStatus         `json:"store"`
	Sent       SentStatus          `json:"sent"`
	Lost       uint64              `json:"lost"` // records under gaps whose size is known, since the node was installed
	Lines      []LineStatus        `json:"lines"`
	Health     []contract.Health   `json:"health,omitempty"`
}

// ConfigStatus is the configuration that the agent started with.
type ConfigStatus struct {
	File    string   `json:"file,omitempty"`
	Sum     string   `json:"sum"`               // SHA-256 of the file as it was read, in hex
	Changed []string `json:"changed,omitempty"` // what has another content now: the file, or the directory of profiles
	Error   string   `json:"error,omitempty"`   // why it can no longer be read
}

// SentStatus is what went to the broker in the month in which something went last.
type SentStatus struct {
	Month string `json:"month,omitempty"` // UTC, 2026-03; "" before the first message
	Bytes int64  `json:"bytes"`           // with TLS, without TCP and IP
}

// StoreNotOpen is the Error of a store that the agent has not opened yet.
const StoreNotOpen = "not open yet"

// StoreStatus is the state of the buffer.
type StoreStatus struct {
	Epoch   string             `json:"epoch"`
	Next    uint64             `json:"next"`
	Backlog []contract.Backlog `json:"backlog,omitempty"`
	Bytes   int64              `json:"bytes"`           // on disk
	Max     int64              `json:"max_bytes"`       // that Bytes may become
	Memory  int64              `json:"memory"`          // payload of unacknowledged records in memory, bytes
	Fault   string             `json:"fault,omitempty"` // why nothing can be written at present
	// FromMemory: the directory could not be used since the start. Epoch exists in memory alone.
	FromMemory bool `json:"from_memory,omitempty"`
	// WrittenDay is the number of bytes that the agent has caused to be written to storage in the last day, or since it
	// started.
	WrittenDay int64  `json:"written_day"`
	Error      string `json:"error,omitempty"`
}

// LineStatus is the state of a line and its devices.
type LineStatus struct {
	ID      string         `json:"id"`
	Port    string         `json:"port"`
	Open    bool           `json:"open"`
	Errors  *line.Counters `json:"errors,omitempty"` // what the UART counted; absent where it does not count
	Error   string         `json:"error,omitempty"`
	Devices []DeviceStatus `json:"devices"`
}

// DeviceStatus is the state of a device.
type DeviceStatus struct {
	ID       string    `json:"id"`
	Model    string    `json:"model"`
	Unit     int       `json:"unit,omitempty"`
	Every    string    `json:"every"`
	Polls    uint64    `json:"polls"`
	Failures uint64    `json:"failures"`
	Last     time.Time `json:"last,omitzero"` // of the last answer
	Error    string    `json:"error,omitempty"`
	Cause    string    `json:"cause,omitempty"` // of Error, where there is a word for it: drivers.Cause
	// why something of the device is not read although nothing fails
	Warning string          `json:"warning,omitempty"`
	Asleep  bool            `json:"asleep,omitempty"` // silent because it is night: no fault
	Values  []PointStatus   `json:"values,omitempty"`
	Info    *DeviceIdentity `json:"info,omitempty"`

	Quarantined []string `json:"quarantined,omitempty"` // points that the device refuses, asked for rarely
}

// DeviceIdentity is the identity that a device reports.
type DeviceIdentity struct {
	Maker    string `json:"maker,omitempty"`
	Model    string `json:"model,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Firmware string `json:"firmware,omitempty"`
}

// PointStatus is the last reading of a point.
type PointStatus struct {
	Point   string           `json:"point"`
	Value   any              `json:"value"` // null where the device gave none
	Unit    string           `json:"unit,omitempty"`
	Quality contract.Quality `json:"quality"`
}

// deviceTable holds the last state of every line and device. Lines write to it, the status readers read.
type deviceTable struct {
	mu    sync.Mutex
	lines []*lineState
	devs  map[string]*deviceState
}

type lineState struct {
	cfg   config.Line
	open  bool
	since time.Time
	err   error
	port  drivers.Port // while it is open
}

type deviceState struct {
	cfg             config.Device
	reporter        reporter      // of the line's goroutine
	phases          phases.Device // owned by the line's goroutine
	row             []byte        // owned by the line's goroutine: the last sample, whose memory is reused
	line            *lineState
	polls, failures uint64
	lastTS          int64  // of the last sample, ms: the next is later
	lastMono        int64  // owned by the line's goroutine
	era             uint64 // of the clock, in which lastTS was
	lastAnswer      time.Time
	failed          int // polls in a row that were not whole
	asleep          bool
	asleepToldAt    time.Time // when status last followed a change of asleep
	err             error
	fault           error // of the last poll that failed
	readings        []drivers.Reading
	about           drivers.Description
}

func newDeviceTable(lines []config.Line, now time.Time) *deviceTable {
	b := &deviceTable{devs: make(map[string]*deviceState)}
	for _, l := range lines {
		ls := &lineState{cfg: l, since: now, err: errNotOpen}
		b.lines = append(b.lines, ls)
		for _, d := range l.Devices {
			// Not derived from the model: a SunSpec meter has the model of an inverter, and a hybrid may load one phase
			// from another.
			ph := phases.Device{Generator: d.About["role"] == "production"}
			b.devs[d.ID] = &deviceState{cfg: d, phases: ph, line: ls, lastMono: -1, reporter: reporter{cfg: d.Report},
				about: drivers.Description{Points: d.Spec.Points}}
		}
	}
	return b
}

var errNotOpen = errors.New("not opened yet")

// line records that a line opened (port is not nil) or was lost, and reports whether that is a change.
func (b *deviceTable) line(id string, port drivers.Port, err error, now time.Time) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		if l.cfg.ID != id {
			continue
		}
		open := port != nil
		changed = l.open != open || !open && text(l.err) != text(err)
		if l.open != open {
			l.since = now
		}
		l.open, l.err, l.port = open, err, port
	}
	return changed
}

// silentAfter is the number of consecutive failed polls that count as a fault: single failures are normal on a bus.
const silentAfter = 3

// report records a poll. It returns the number of consecutive failures, and the condition that this means: "" for none,
// while there are fewer than silentAfter.
func (b *deviceTable) report(r drivers.Report, at moment) (code string, failed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.devs[r.Device]
	if !d.cfg.Spec.Unsolicited {
		d.polls++
	}
	d.err = r.Err
	if r.Err == nil {
		d.failed = 0
	} else {
		d.failed++
		d.failures++
		d.fault = r.Err
	}
	if len(r.Readings) > 0 {
		d.lastAnswer, d.readings = at.wall, r.Readings
	} else if d.cfg.Spec.Unsolicited && len(r.Events) > 0 {
		d.lastAnswer = at.wall
	}
	switch {
	case d.failed < silentAfter:
		return "", d.failed
	case len(r.Readings) > 0:
		return contract.DevicePartial, d.failed
	case drivers.KindOf(r.Err) == drivers.Busy:
		return contract.DeviceBusy, d.failed
	}
	return contract.DeviceSilent, d.failed
}

// ids lists the devices in the configuration's order.
func (b *deviceTable) personal() map[string]bool {
	out := make(map[string]bool)
	for id, d := range b.devs {
		if d.cfg.Personal {
			out[id] = true
		}
	}
	return out
}

func (b *deviceTable) ids() []string {
	var out []string
	for _, l := range b.lines {
		for _, d := range l.cfg.Devices {
			out = append(out, d.ID)
		}
	}
	return out
}

// model returns the model that a device is configured as.
func (b *deviceTable) model(id string) string {
	return b.devs[id].cfg.Model // never changes
}

// sleeping records whether a device is asleep. It reports whether that is a change, and whether status must follow
// immediately: a device that keeps falling asleep and waking up would otherwise cost a status message each time. The
// next regular status includes the change.
func (b *deviceTable) sleeping(id string, asleep bool) (changed, publish bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.devs[id]
	if d.asleep == asleep {
		return false, false
	}
	d.asleep = asleep
	now := time.Now()
	if !d.asleepToldAt.IsZero() && now.Sub(d.asleepToldAt) < asleepEvery {
		return true, false
	}
	d.asleepToldAt = now
	return true, true
}

// asleepEvery is the shortest time between two status messages because one device fell asleep or woke up.
const asleepEvery = 5 * time.Minute

// place assigns times to a sample of a device: those of the moment, but later than those of the previous sample. Wall
// times of another era are ignored: they came from another clock and must not hold back those of this one.
func (b *deviceTable) place(id string, at moment) (ts, mono int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.devs[id]
	if d.era != at.era {
		d.era, d.lastTS = at.era, 0
	}
	d.lastTS, d.lastMono = max(at.wall.UnixMilli(), d.lastTS+1), max(at.mono, d.lastMono+1)
	return d.lastTS, d.lastMono
}

// restamped notes that samples up to the given times, by device, are now of this era.
func (b *deviceTable) restamped(last map[string]int64, era uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, ts := range last {
		d := b.devs[id]
		if d.era != era {
			d.era, d.lastTS = era, 0
		}
		d.lastTS = max(d.lastTS, ts)
	}
}

// describe notes what a device said of itself and returns its state of knowledge.
func (b *deviceTable) describe(id string, about *drivers.Description) (config.Device, drivers.Description) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.devs[id]
	if about != nil {
		d.about = *about
	}
	return d.cfg, d.about
}

func (b *deviceTable) status() []LineStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []LineStatus
	for _, l := range b.lines {
		ls := LineStatus{ID: l.cfg.ID, Port: l.cfg.Endpoint.String(), Open: l.open, Error: text(l.err)}
		if c, ok := l.port.(line.Counting); ok {
			if n, err := c.Counters(); err == nil {
				ls.Errors = &n
			}
		}
		for _, d := range l.cfg.Devices {
			ls.Devices = append(ls.Devices, b.devs[d.ID].status())
		}
		out = append(out, ls)
	}
	return out
}

func (d *deviceState) status() DeviceStatus {
	s := DeviceStatus{
		ID: d.cfg.ID, Model: d.cfg.Model, Unit: d.cfg.Unit, Every: everyText(d.cfg),
		Polls: d.polls, Failures: d.failures, Last: d.lastAnswer, Error: text(d.err),
		Cause: drivers.CauseOf(d.err).String(), Warning: d.about.Warning, Asleep: d.asleep,
		Quarantined: d.about.Quarantined,
	}
	s.Info, s.Values = IdentityOf(&d.about), PointsOf(d.readings)
	return s
}

// IdentityOf extracts the identity from a description, nil when there is none.
func IdentityOf(about *drivers.Description) *DeviceIdentity {
	if about == nil || about.Maker == "" && about.Model == "" && about.Serial == "" && about.Firmware == "" {
		return nil
	}
	return &DeviceIdentity{about.Maker, about.Model, about.Serial, about.Firmware}
}

// PointsOf converts readings to their form in a status.
func PointsOf(readings []drivers.Reading) []PointStatus {
	var out []PointStatus
	for _, r := range readings {
		p, _ := catalogue.PointOf(r.Point)
		ps := PointStatus{Point: r.Point, Unit: p.Unit, Quality: qualities[r.Quality]}
		switch r.Value.Type() {
		case catalogue.Float:
			ps.Value = r.Value.Float()
		case catalogue.Bool:
			ps.Value = r.Value.Bool()
		case catalogue.Text:
			ps.Value = r.Value.Text()
		}
		out = append(out, ps)
	}
	return out
}

// everyText is the poll interval of a device, "" when it is never polled.
func everyText(d config.Device) string {
	if d.Spec.Unsolicited {
		return ""
	}
	return d.Every.String()
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// points makes the meta of a device's points, in the catalogue's order. A state has the words that its model knows.
func points(model drivers.Model, keys []string) contract.MetaPoints {
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b string) int { return catalogue.PointOrder(a) - catalogue.PointOrder(b) })
	out := contract.MetaPoints{}
	for _, k := range slices.Compact(keys) {
		p, ok := catalogue.PointOf(k)
		if !ok {
			continue
		}
		if states := model.StateWords(); k == "state" && states != nil {
			p.Enum = states
		}
		out = append(out, contract.MetaPoint{Key: k, Type: p.Type.String(), Unit: p.Unit, Kind: string(p.Kind),
			Label: contract.Label{It: p.It, En: p.En}, Enum: p.Enum})
	}
	return out
}

// qualities translates the drivers' qualities into the contract's codes.
var qualities = [...]contract.Quality{
	drivers.Good:      contract.QualityGood,
	drivers.Uncertain: contract.QualityUncertain,
	drivers.Bad:       contract.QualityBad,
	drivers.Stale:     contract.QualityStale,
}
