// Package drivers is the contract between the agent and everything that speaks to a device: the types that cross the
// line, the catalogue of points, and the one scheduler of devices that speak only when asked.
//
// It promises nothing about a protocol and knows neither MQTT nor the store: a protocol is a package below this one.
package drivers

import (
	"context"
	"io"
	"slices"
	"time"

	"bordo/drivers/catalogue"
)

// Port is an open line: a serial port, a socket or a simulated wire.
//
// One goroutine owns it. Read returns as soon as at least one byte is available. When the deadline passes first, it
// returns an error that matches os.ErrDeadlineExceeded. SetDeadline may be called from another goroutine during a Read
// or Write and ends it: that is how a line is cancelled. Any other error means that the port is lost and must be opened
// again. Close may be called more than once.
type Port interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
}

// Closer is a port that notices by itself when it is lost. A link that waits for something else tests its Port for this
// interface.
type Closer interface {
	Done() <-chan struct{} // closed then, and never before
}

// Reopener is a port that can be reopened in place, such as a TCP connection that the device has closed. A link tests
// its Port for this interface.
type Reopener interface {
	// Reopen closes the port and opens it again. It blocks until the port is open, an error is known or ctx ends. After
	// an error the port stays closed, and Reopen may be called again.
	Reopen(ctx context.Context) error
}

// Quality is how far a reading can be trusted. The zero value is good.
type Quality uint8

// The qualities, with their code in the contract's "q" (good is never written).
const (
	Good      Quality = iota // 192, implied
	Uncertain                // 64: a value, but something about it is doubtful
	Bad                      // 0: no value (the device says "not available", or it is out of range)
	Stale                    // 500: the last value known, too old to be current
)

// Reading is one point of one device at the time of its report.
type Reading struct {
	Point   string          // a key of the catalogue
	Value   catalogue.Value // absent when Quality is Bad
	Quality Quality
}

// Event is something that happened at a device and must never be thinned: an alarm, a card, a movement.
type Event struct {
	Type string         // bordo.<noun>.<verb>.v1
	At   time.Time      // zero: the time of the report that carries it
	Data map[string]any // JSON object; the contract defines it per type
}

// RatedMargin is the factor above its rated power beyond which a value of a device is impossible. It allows for
// measurement errors and for cloud edges, which concentrate sunlight.
const RatedMargin = 1.1

// Description is what a device reports about itself. It goes into the retained meta of the device.
type Description struct {
	Maker, Model, Serial, Firmware string
	Points                         []string // every point that this device can deliver, in the catalogue's order
	Quarantined                    []string // points of the model that this device refuses to give; asked for rarely
	RatedW                         float64  `json:",omitempty"` // its rated power; 0: not reported
	// why something of the device is not read although nothing fails
	Warning string `json:",omitempty"`
}

// Report is the result of one poll of one device, or an unsolicited message from it. It is the unit that is buffered
// and sent. Readings received before a fault travel together with the error.
type Report struct {
	Device      string
	At          time.Time // when the last byte of the reply arrived, with its monotonic part
	Readings    []Reading
	Events      []Event
	Description *Description // only when it became known or changed
	// what the driver has learned about the device, only when it changed; to be saved for Device.DriverState
	DriverState []byte
	Identified  bool  // the device said in this poll who it is, and the last Description holds; or it never says
	Err         error // an *Error, or several joined
}

// Command asks a device to do something. It is executed before Deadline or not at all.
type Command struct {
	ID       string
	Device   string
	Action   string // the operation's name in the contract: barrier.open, relay.pulse, ...
	Args     map[string]any
	Deadline time.Time // monotonic; zero: no deadline
}

// Outcome is where a command ended.
type Outcome string

// The outcomes that Do may return.
const (
	Done     Outcome = "done"
	Accepted Outcome = "accepted" // written and acknowledged; Result.Expect says what later polls have to show
	Rejected Outcome = "rejected" // never reached the device
	Expired  Outcome = "expired"  // its deadline passed before it reached the device
	Failed   Outcome = "failed"   // the device refused it, or did something else
	Unknown  Outcome = "unknown"  // written, and no answer: never repeated by the agent
)

// Result is the answer to a command.
type Result struct {
	Outcome Outcome
	Code    string // machine-readable, lower case with underscores
	Detail  string // for a person
	Value   any    // the value read back, where the model allows it

	Expect *Expectation // of Accepted
}

// Expectation describes what proves that a device does what it accepted: within a time, a point has one of some words.
type Expectation struct {
	Point    string // of the catalogue; its value is a text
	Words    []string
	Within   time.Duration // from the device's answer to the write
	Interval time.Duration // at which the device is to be polled until then; 0: as configured
}

// Poller is a device that speaks only when polled. The goroutine that owns the port calls it. It starts no goroutine
// and closes nothing. The port may differ from that of the previous call when the line was reopened in between.
type Poller interface {
	// Poll reads the device once and reports the result, with an error if something was missing. It never writes to the
	// device, returns within a second of the end of ctx, and returns only readings that the device answered in this
	// poll.
	Poll(ctx context.Context, port Port) Report
	// Do executes one command of the model's allow-list and returns after the device's answer to the write. It does not
	// wait for a movement: the outcome is then Accepted. It rejects every other command.
	Do(ctx context.Context, port Port, c Command) Result
}

// Identifier is a Poller that asks who its device is only now and then.
type Identifier interface {
	Poller
	// Identify lets the next Poll ask who the device is. It is called from the line's goroutine.
	Identify()
}

// Request is what the agent asks of a running line.
type Request struct {
	Device   string
	Command  *Command     // nil: poll the device now
	Identify bool         // the poll asks who the device is; see Report.Identified
	Answer   func(Answer) // called once, from the line's goroutine; must not block

	// Cancelled, if not nil, is closed when the caller gives up: a Command that has not started is then Expired.
	Cancelled <-chan struct{}

	// Borrow uses the port for something else between two polls; Device and Command are then unset. It is called at
	// most once, while no transaction is running on the line and nothing else uses the port. It must end within a
	// second of ctx, which also ends when a stop command needs the line. It must not close or retain the port, and must
	// leave no transaction running.
	Borrow func(ctx context.Context, port Port) error
}

// Answer is the outcome of a Request: the report of a poll, the result of a command, or the error of a Borrow.
type Answer struct {
	Report *Report
	Result Result
	Err    error
}

// Link is a protocol on an open line.
type Link interface {
	// Run owns port until ctx ends (it returns ctx.Err()) or the port is lost (it returns the cause). It does not close
	// the port. out must not block for long and is called only from Run's goroutine. Run may be called again with
	// another port after it returned: it keeps what it has learned about the devices.
	Run(ctx context.Context, port Port, in <-chan Request, out func(Report)) error
}

// Device is one configured device of a line.
type Device struct {
	ID    string
	Model string
	Unit  int           // unit id; 0 where the protocol has none
	Every time.Duration // from poll to poll, aligned to the clock

	RatedW      float64      // the operator's value, which overrides the device's; 0: none
	ChannelMaps []ChannelMap // what hangs on the channels of an I/O module
	DriverState []byte       // of the last Report that had it; what cannot be used is dropped
}

// ChannelMap says which quantity hangs on a channel of an I/O module.
type ChannelMap struct {
	Point   string // of the catalogue
	Channel string // of the model: di1, do1, ai0
	Invert  bool   // of a digital channel: the contact is closed when the point is false

	// For an analogue channel: From in the channel's unit maps to To in the point's unit, linearly. From [4, 20] in mA
	// also detects a broken wire and a current beyond the range (NAMUR NE 43). Both zero: the channel's unit is the
	// point's.
	From, To [2]float64
}

// Line is what a link needs to know of the medium below it.
type Line struct {
	ID      string
	Stream  bool // TCP with the protocol's own framing; false: a serial line, or one tunnelled through TCP
	Baud    int  // of the serial line; 0 where it is not known
	CharLen int  // bits of one character with start, parity and stop bits; 0 where it is not known
	Tunnel  bool // the serial line is behind a TCP stream, which adds its own delay

	// TolerantIDs accepts answers with another transaction id than the request's, for gateways that do not keep it.
	TolerantIDs bool
}

// BusCan lists the settings of a serial line that a model can have. An empty list: not known.
type BusCan struct {
	Baud   []int
	Parity []string // none, even, odd
}

// Allows reports whether a model supports a setting, as far as is known.
func (b BusCan) Allows(baud int, parity string) bool {
	return (len(b.Baud) == 0 || slices.Contains(b.Baud, baud)) &&
		(len(b.Parity) == 0 || slices.Contains(b.Parity, parity))
}

// Model describes a kind of device that a driver supports.
type Model struct {
	Name     string // vendor-family: the stem of profile, firmware note and goldens
	Title    string // as a person calls it
	Kind     catalogue.DeviceKind
	Unit     Range // unit ids that are allowed; zero: the model has none
	Every    time.Duration
	MinEvery time.Duration // polling faster than this is refused
	Streams  bool          // works behind a tcp:// line
	Serial   bool          // works behind a serial:// or serial+tcp:// line
	Bus      string        // the maker's defaults, as in a port URL: "baud=9600&parity=none&stop=1"
	BusCan   BusCan        `json:",omitzero"` // which settings it can be given, where that is known
	Verified string        // paper, capture, bench or field; "unverified" for models from the site's own files
	Points   []string      // the points that it can deliver; empty when only the device can list them
	States   []string      // the words of its point "state", in the catalogue's order; empty: those of its kind
	Channels []Channel     // of an I/O module, to be tapped
	Part     int           `json:",omitempty"` // which of several devices behind one unit id; 0: the model does not say
	Sleeps   bool          // without sun it may not answer: that is no fault

	// Unsolicited models send by themselves: a device has no poll interval, silence is normal, and an event alone
	// proves that it is alive.
	Unsolicited bool `json:",omitempty"`
	// ReopenMax is the longest pause before a lost port is reopened for a device of this model; 0: the agent's own
	// limit.
	ReopenMax time.Duration `json:",omitempty"`

	// Frames lists the origins of the frames in its tests: capture, vendor-example, other-implementation. Frames made
	// by this project do not count.
	Frames []string
}

// Unverified marks a model that is based on documents alone: no outside evidence confirms it yet.
const Unverified = "unverified"

// Proof returns in a word how far a model was verified: Verified, or unverified when no frame from outside proves it.
func (m Model) Proof() string {
	if len(m.Frames) == 0 {
		return Unverified
	}
	return m.Verified
}

// StateWords are the words that the point "state" of the model can hold; nil when nothing narrower is known than the
// catalogue.
func (m Model) StateWords() []string {
	if len(m.States) > 0 {
		return m.States
	}
	return m.Kind.States()
}

// Channel is an input or output that means nothing until the configuration says what hangs on it.
type Channel struct {
	Name   string // di1, do1, ai0
	Unit   string // of an analogue one: mA, V, Cel; "" for a digital one
	Output bool
}

// Range is a closed interval of whole numbers.
type Range struct{ Min, Max int }

// Driver is a protocol and the models that speak it. Drivers are listed in drivers/all; there is no registration.
type Driver interface {
	Name() string
	Models() []Model
	// Link joins the devices of one line. All of them have a model of this driver.
	Link(l Line, devices []Device) (Link, error)
}

// TCPDriver is a driver whose protocol has a standard TCP port. It is used where a URL names none.
type TCPDriver interface {
	Driver
	TCPPort() int
}

// Extensible is a driver that takes further models from the site's own files.
type Extensible interface {
	Driver
	// WithModels returns the driver extended by the models in the files of a directory. These are always unverified,
	// and Do refuses every command for them. The error lists all faults, one per line, each with its file and position.
	WithModels(dir string) (Driver, error)
}

// Warned is a driver that may warn about the models that a site brought: accepted now, but a fault in the next release.
type Warned interface {
	Warnings() []string // one sentence each, with file and place
}
