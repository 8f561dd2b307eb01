// Package scan looks for Modbus devices: on a serial line whose speed is not known, at TCP addresses, or on a line that a
// running agent holds. It tells which model each is, as far as the profiles can tell, and what is probably wrong where
// nothing answers.
//
// It promises that it only reads (functions 1 to 4, 17 and 43), that it asks one thing at a time on each line, that it stops
// within a question's time-out when its context ends, and that the number of its questions is bounded. It opens ports
// through a function that it is given, and prints nothing.
package scan

import (
	"context"
	"sync"
	"time"

	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
)

// Event is something that a scan has to tell: one of its parts is there.
type Event struct {
	Progress *Progress `json:"progress,omitempty"`
	Found    *Found    `json:"found,omitempty"`
	Trouble  *Trouble  `json:"trouble,omitempty"`
	Unasked  *Unasked  `json:"unasked,omitempty"`
}

// Progress is how far a scan is. The total may change on the way.
type Progress struct {
	Done  int    `json:"done"`
	Total int    `json:"total"`
	At    string `json:"at"` // what is being asked: a port URL
	Unit  int    `json:"unit,omitempty"`
}

// Unasked is what was not looked for on a serial port, because something answered before: a line has one speed as a rule, and
// yet two devices that are set differently may hang on it.
type Unasked struct {
	Port     string   `json:"port"`
	Settings []string `json:"settings,omitempty"` // with which nothing was asked: port URLs
	Partly   []string `json:"partly,omitempty"`   // with which only the likely unit ids were asked
	Units    []int    `json:"units,omitempty"`    // which those were
}

// Found is a device that answered.
type Found struct {
	Port   string `json:"port"` // a port URL
	Unit   int    `json:"unit"`
	Device string `json:"device,omitempty"` // the id that it has in the configuration of the agent already

	Model  string   `json:"model,omitempty"` // of a profile; empty when it was not recognised
	Title  string   `json:"title,omitempty"`
	Kind   string   `json:"kind,omitempty"`
	Sure   bool     `json:"sure,omitempty"`   // the device said it; otherwise its values only look like it
	Others []string `json:"others,omitempty"` // models that fit as well

	Candidates []Candidate `json:"candidates,omitempty"` // what it could be, where it was not recognised

	Maker    string `json:"maker,omitempty"` // what it says of itself
	Product  string `json:"product,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Firmware string `json:"firmware,omitempty"`

	Warning string `json:"warning,omitempty"` // why something of the device cannot be read although it answers
}

// same tells whether two answers came from one device under two unit ids.
func (f *Found) same(o *Found) bool {
	return f.Model == o.Model && f.Maker == o.Maker && f.Product == o.Product && f.Serial == o.Serial && f.Firmware == o.Firmware
}

// Cause is what probably keeps devices from being found.
type Cause string

// The causes, in the order in which they are looked for.
const (
	NoPort      Cause = "no_port"      // the port cannot be opened
	OtherMaster Cause = "other_master" // somebody else asks on this line
	Garbage     Cause = "garbage"      // something is heard that is no frame: speed or parity, or wires next to power cables
	OnlyEcho    Cause = "only_echo"    // the adapter hears itself and nobody else
	Silence     Cause = "silence"      // nothing at all: A and B swapped, no power, no device
	Refused     Cause = "refused"      // the host is there and has nothing at the port
	Unreachable Cause = "unreachable"  // no such host, or no answer from it
	NotModbus   Cause = "not_modbus"   // the connection opens, and nobody answers on it
	NobodyThere Cause = "nobody_there" // a gateway answers, and says that no device does
	EveryUnit   Cause = "every_unit"   // a host answers under every unit id
	OtherIDs    Cause = "other_ids"    // a gateway answers with another transaction id than it was asked with
	RTUFrames   Cause = "rtu_frames"   // the host speaks RTU frames where Modbus TCP was expected
	TCPFrames   Cause = "tcp_frames"   // the host speaks Modbus TCP where RTU frames were expected
)

// Trouble is what a scan found wrong.
type Trouble struct {
	Cause  Cause  `json:"cause"`
	Port   string `json:"port,omitempty"`
	Detail string `json:"detail,omitempty"` // the numbers behind it
}

// Line is a line that devices are looked for on. Use lets f ask, and may wait for its turn before; f is done when it returns.
type Line interface {
	Use(ctx context.Context, f func(context.Context, *modbus.Session) error) error
}

// Open opens a port, as line.Open does.
type Open func(ctx context.Context, e line.Endpoint) (drivers.Port, error)

// Scanner looks for devices of some profiles.
type Scanner struct {
	Profiles []*modbus.Profile
	Units    []int // the unit ids that are asked; none: all, the likely ones first
	// AllSpeeds asks the likely unit ids with every setting of a serial port, also once a device was found.
	AllSpeeds bool
	Known     map[int]string // devices that need not be looked for, by unit id
	Say       func(Event)    // is told everything; one call at a time

	mu    sync.Mutex
	done  int // guarded by mu, as all below
	total int
	found int

	serial []Found // on the serial port, with all settings
}

// tell hands an event out.
func (s *Scanner) tell(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say(e)
}

// say is tell for who holds mu.
func (s *Scanner) say(e Event) {
	if e.Found != nil {
		s.found++
	}
	if s.Say != nil {
		s.Say(e)
	}
}

// expect adds steps to what is still to be done; n may be negative.
func (s *Scanner) expect(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total += n
}

// step tells what is asked now.
func (s *Scanner) step(at string, unit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say(Event{Progress: &Progress{Done: s.done, Total: max(s.total, s.done+1), At: at, Unit: unit}})
	s.done++
}

func (s *Scanner) anyFound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found > 0
}

// Direct is a port of our own as a Line. It is opened when it is needed, and again after it was lost.
type Direct struct {
	open     Open
	endpoint line.Endpoint
	port     drivers.Port
	session  *modbus.Session
}

var _ Line = (*Direct)(nil)

// NewDirect makes a line of an endpoint. Close must be called.
func NewDirect(open Open, e line.Endpoint) *Direct { return &Direct{open: open, endpoint: e} }

// Use implements Line. Its error is the port's when that cannot be opened.
func (d *Direct) Use(ctx context.Context, f func(context.Context, *modbus.Session) error) error {
	if d.port == nil {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		port, err := d.open(ctx, d.endpoint)
		if err != nil {
			return err
		}
		d.port, d.session = port, modbus.NewSession(d.endpoint.Line("scan"), port, modbus.Timing{})
	}
	err := f(ctx, d.session)
	if drivers.PortLost(err) {
		d.Close()
	}
	return err
}

// openTimeout is how long a connection may take: a device on the same network accepts within milliseconds.
const openTimeout = 2 * time.Second

// Close gives the port up.
func (d *Direct) Close() {
	if d.port != nil {
		d.port.Close() //nolint:errcheck // nothing was written
		d.port, d.session = nil, nil
	}
}
