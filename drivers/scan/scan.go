// Package scan defines the search for devices, independent of the protocol: what to look for, the events of a scan, and
// the configuration lines proposed for its findings. A driver that can search for its devices is a Scanner.
package scan

import (
	"context"

	"bordo/drivers"
	"bordo/drivers/line"
)

// Event is a message from a scan: exactly one of its parts is set.
type Event struct {
	Progress *Progress `json:"progress,omitempty"`
	Found    *Found    `json:"found,omitempty"`
	Trouble  *Trouble  `json:"trouble,omitempty"`
	Unasked  *Unasked  `json:"unasked,omitempty"`
}

// Progress is how far a scan has got. The total may change on the way.
type Progress struct {
	Done  int    `json:"done"`
	Total int    `json:"total"`
	At    string `json:"at"` // the port URL being probed
	Unit  int    `json:"unit,omitempty"`
}

// Unasked lists what was not probed on a serial port because a device answered earlier. A line usually has one speed,
// but two differently configured devices may share it.
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

	Candidates []Candidate `json:"candidates,omitempty"` // possible models of an unrecognised device

	Maker    string `json:"maker,omitempty"` // as reported by the device
	Product  string `json:"product,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Firmware string `json:"firmware,omitempty"`

	Warning string `json:"warning,omitempty"` // why something of the device cannot be read although it answers
}

// Cause is what probably keeps devices from being found.
type Cause string

// The causes, in the order in which they are looked for.
const (
	NoPort      Cause = "no_port"      // the port cannot be opened
	OtherMaster Cause = "other_master" // another master polls on this line
	// received bytes form no frame: speed or parity, or interference from power cables
	Garbage     Cause = "garbage"
	OnlyEcho    Cause = "only_echo"    // the adapter receives only its own transmissions
	Silence     Cause = "silence"      // nothing at all: A and B swapped, no power, no device
	Refused     Cause = "refused"      // the host is there and has nothing at the port
	Unreachable Cause = "unreachable"  // no such host, or no answer from it
	NotModbus   Cause = "not_modbus"   // the connection opens, but nothing answers on it
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
	Detail string `json:"detail,omitempty"` // the numbers behind the cause
}

// Candidate is a model that a device could be which was not recognised.
type Candidate struct {
	Model string `json:"model"`
	Title string `json:"title,omitempty"`
	Kind  string `json:"kind,omitempty"`
}

// Open opens a port, as line.Open does.
type Open func(ctx context.Context, e line.Endpoint) (drivers.Port, error)

// Search is what a scan is asked for.
type Search struct {
	Units []int // the unit ids that are asked; none: all, the likely ones first
	// AllSpeeds asks the likely unit ids with every setting of a serial port, also once a device was found.
	AllSpeeds bool
	Known     map[int]string // ids of devices that need not be looked for, by unit id
	Say       func(Event)    // receives all events, one call at a time
}

// Lend lets f use a line that is open elsewhere. It may wait for its turn first. f must be done when it returns. The
// error is that of f, or why the line is not lent.
type Lend func(ctx context.Context, f func(context.Context, drivers.Port) error) error

// Scanner is a driver that can search for its devices. A scan only reads. It reports findings and problems as events.
// Its error is that of an unusable port, or of the context.
type Scanner interface {
	drivers.Driver
	// Ports are the TCP ports that are looked at where a target names none, the usual one first.
	Ports() []int
	// SerialSettings are the settings that are tried on a serial port, in that order.
	SerialSettings(path string) []line.Endpoint
	// ScanSerial looks on a serial port whose settings are not known.
	ScanSerial(ctx context.Context, path string, open Open, s Search) error
	// ScanTCP looks at the addresses of a target.
	ScanTCP(ctx context.Context, t Target, open Open, s Search) error
	// ScanLine looks on a line that is open already, with the settings that it has.
	ScanLine(ctx context.Context, e line.Endpoint, lend Lend, s Search) error
}
