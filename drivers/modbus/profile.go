package modbus

import (
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Profile describes a device model as data: the address and encoding of its values, and the timing it needs.
// Load creates it. It is not changed afterwards, so any number of devices can share it.
type Profile struct {
	Model       string // vendor-family
	Title       string
	Kind        catalogue.DeviceKind
	Verified    string         // paper, capture, bench or field
	Serial      bool           // can be on a serial line
	Stream      bool           // speaks Modbus TCP
	Bus         string         // factory serial settings, as in a port URL
	BusCan      drivers.BusCan // serial settings it can be configured to
	TCPPort     int            // factory TCP port
	Unit        UnitIDs
	Every       time.Duration // poll interval unless configured otherwise
	MinEvery    time.Duration
	Timing      Timing
	Limits      Limits
	Readable    []Span // readable although no point lies there: may be read over
	Holes       []Span // refused, or dangerous to read: never part of a request
	Identify    []Test // all are true for this model and for few others
	Identity    Identity
	Points      []Point
	Channels    []Channel
	Commands    []Command
	Guards      Guards
	Quirks      []Quirk
	SunSpec     *SunSpec // the model finds its registers through a SunSpec chain
	SleepsNight bool     // a device that does not answer after sunset is asleep, not faulty
	Warnings    Faults   // site profiles only: what the next release will reject
}

// UnitIDs are the unit ids that a model uses.
type UnitIDs struct {
	Default int
	Range   drivers.Range
	Probe   []int // order in which a scan tries them
}

// Timing is how a device must be timed. All values come from the model's profile; none is hard-coded.
type Timing struct {
	ReplyMax    time.Duration // serial: longest time ever observed from the end of a request to the start of the reply
	TCPReplyMax time.Duration // TCP: the same, including the network
	// ReplyUsual is the typical time from the end of a request to the start of the reply. It is used to decide
	// what to read over.
	ReplyUsual  time.Duration
	Gap         time.Duration // pause between a reply and the next request
	ConnectWait time.Duration // pause between opening a connection and the first request
	IdleClose   time.Duration // the device closes a connection after this idle time; 0: never
	TolerantIDs bool          // TCP: replies have wrong transaction ids; match by unit, function and length instead
	Clients     int           // simultaneous connections it accepts; 0: unknown
}

// Limits limits one request.
type Limits struct {
	Registers int // at most 125
	Bits      int // at most 2000
	Align     int // no request crosses a multiple of it; 0: no such limit
	Even      bool
}

// Pace is how often a point is read.
type Pace string

// The paces.
const (
	Fast Pace = "fast" // in every poll
	Slow Pace = "slow" // at most once a minute
	Once Pace = "once" // in the first poll after each opening of the line
)

// Point is one reading of a model.
type Point struct {
	Key   string          // catalogue key
	Is    catalogue.Point // catalogue entry
	Field                 // address and encoding
	Pace  Pace
	Range *[2]float64 // values outside are impossible and count as missing
	When  *Test       // the value is meaningful only if this is true
	Else  catalogue.Value

	Fallback bool // counts only if the other point with this key has no value
}

// Span returns what must be in one reply to decode the point.
func (p *Point) Span() Span {
	s := p.Field.Span()
	if p.When != nil {
		s = s.join(p.When.Span())
	}
	return s
}

// Channel is an input or output without a fixed meaning; the configuration maps it to a point.
type Channel struct {
	Name  string // di1, do1, ai0
	Field        // analogue channels are scaled to Unit
	Unit  string // mA, V, Cel, ...; "" for digital channels
	Write bool   // it is an output
}

// Test is a condition on a field. One of In, Starts and Contains is set.
type Test struct {
	Field
	In       []uint64 // the raw pattern is one of these
	Starts   string   // the text begins with this
	Contains []string // the text contains one of these
}

// Identity states where a device reports what it is.
type Identity struct{ Maker, Model, Serial, Firmware *Naming }

// Naming is a constant text or a field that is read from the device.
type Naming struct {
	Text  string
	Field *Field
}

// Command is an action that the profile allows.
type Command struct {
	Action string
	Steps  []Step
	Check  *Check // how to confirm it
	Repeat bool   // executing it twice does no harm
}

// Step is one write of a command.
type Step struct {
	At       Address
	Function byte   // 5, 6, 15 or 16
	Value    uint64 // raw value; 0xFF00 switches a coil on
	Arg      *Arg   // if set, the value comes from this argument
	Field    Field  // encoding of the argument
	Choose   *Choose
}

// Arg is a numeric argument of a command.
type Arg struct {
	Name  string
	Range [2]float64
	Type  string // type shown to the caller: number
}

// Choose selects one of several identical outputs for a step.
type Choose struct {
	Arg          string
	First, Count int // outputs are numbered First to First+Count-1
	Stride       int // distance between the addresses of two neighbours
}

// Check confirms a command by reading.
type Check struct {
	Point    string        // catalogue key of a point that must take one of Words
	Words    []string      //
	Field    *Field        // if set instead, this field must read back what was written
	Within   time.Duration // how long the device may take
	Interval time.Duration // time between two reads
}

// Guards are the model's plausibility rules.
type Guards struct {
	NullFrame []string // if all of these points are zero or absent, the frame is empty and no reading counts
	Frozen    int      // values are stale after this many polls without a change while power flows; 0: no rule
	Counters  bool     // hold back a lifetime counter that falls or jumps until it is confirmed
	RatedW    float64  // rating if the model has a fixed one; 0: read from the device, or unknown
	Rated     *Field   // where the device reports its rated power, in W
}

// Quirk is an oddity of the model that its firmware note explains.
type Quirk struct{ ID, What string }

// SunSpec describes how to find the chain of models and what to read from each model.
type SunSpec struct {
	Bases  []uint16
	Part   int            // which of the devices behind one unit id; each begins with a common model
	Stated bool           // Part is in the profile: other devices may share the unit id
	Models []SunSpecModel // by preference: of each family only the first that the device has is read
}

// SunSpecModel is what is read from SunSpec models with the same layout. Its addresses are offsets from the
// model's id register.
type SunSpecModel struct {
	IDs      []uint16
	Kind     catalogue.DeviceKind // kind of the devices that have it
	Title    string
	Family   string
	Lengths  []int // legal lengths; empty: any
	Points   []Point
	Repeat   *Repeat
	Commands []Command
	Rated    *Field
}

// Repeat is a group of registers that a model repeats. In its point keys {n} stands for 1, 2, 3 and so on.
type Repeat struct {
	At, Size int
	Count    *Field // number of groups; if absent or too large, as many as fit into the model
	Skip     *Test  // groups for which this is true are left out
	Points   []Point
}
