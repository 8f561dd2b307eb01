package modbus

import (
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Profile is a model of device as data: where its values lie, how they are coded, how it wants to be spoken to.
// It comes from Load and is not changed after that, so any number of devices share it.
type Profile struct {
	Model       string // vendor-family
	Title       string
	Kind        catalogue.DeviceKind
	Verified    string         // paper, capture, bench or field
	Serial      bool           // may stand behind a serial line
	Stream      bool           // may be spoken to as Modbus TCP
	Bus         string         // the maker's serial settings, as in a port URL
	BusCan      drivers.BusCan // which settings it can be given
	TCPPort     int            // the maker's TCP port
	Unit        UnitIDs
	Every       time.Duration // how often it is polled unless the configuration says otherwise
	MinEvery    time.Duration
	Timing      Timing
	Limits      Limits
	Readable    []Span // answered although no point lies there: may be bridged
	Holes       []Span // refused, or dangerous to read: never in a block
	Identify    []Test // all hold on this model and on few others
	Identity    Identity
	Points      []Point
	Channels    []Channel
	Commands    []Command
	Guards      Guards
	Quirks      []Quirk
	SunSpec     *SunSpec // the model finds its registers by itself
	SleepsNight bool     // a device without sun that does not answer is asleep, not broken
	Warnings    Faults   // of a site's own profile: what will be a fault with the next release
}

// UnitIDs says which unit ids a model uses.
type UnitIDs struct {
	Default int
	Range   drivers.Range
	Probe   []int // in which order a scan tries them
}

// Timing is how a device wants to be spoken to. Every number is of the model, none is in code.
type Timing struct {
	ReplyMax    time.Duration // serial: from the end of a request to the start of the latest answer ever seen
	TCPReplyMax time.Duration // TCP: the same, with the network
	ReplyUsual  time.Duration // from the end of a request to the start of the answer, as a rule: weighs bridging
	Gap         time.Duration // from an answer to the next request
	ConnectWait time.Duration // from the opening of a connection to the first request
	IdleClose   time.Duration // the device closes a connection that was silent for so long; 0: it does not
	TolerantIDs bool          // TCP: answers carry wrong transaction ids; matched by unit, function and length instead
	Clients     int           // how many connections it takes; 0: not known
}

// Limits bounds one request.
type Limits struct {
	Registers int // at most 125
	Bits      int // at most 2000
	Align     int // no block crosses a multiple of it; 0: no such rule
	Even      bool
}

// Pace is how often a point is read.
type Pace string

// The paces.
const (
	Fast Pace = "fast" // with every poll
	Slow Pace = "slow" // at most once a minute
	Once Pace = "once" // at the first poll after each opening of the line
)

// Point is one reading of a model.
type Point struct {
	Key   string          // of the catalogue
	Is    catalogue.Point // what the catalogue says of it
	Field                 // where it lies and how it is coded
	Pace  Pace
	Range *[2]float64 // a value outside is not possible, so it is no value
	When  *Test       // the value means something only when this holds
	Else  catalogue.Value

	Fallback bool // counts only where the other point of this key has no value
}

// Span is what must come in one answer so that the point can be decoded.
func (p *Point) Span() Span {
	s := p.Field.Span()
	if p.When != nil {
		s = s.join(p.When.Span())
	}
	return s
}

// Channel is an input or output that means nothing until the configuration says what hangs on it.
type Channel struct {
	Name  string // di1, do1, ai0
	Field        // an analogue one is scaled to Unit
	Unit  string // mA, V, Cel, ...; "" for a digital one
	Write bool   // an output
}

// Test is a condition on a field.
type Test struct {
	Field
	In       []uint64 // the raw pattern is one of these
	Starts   string   // the text begins so
	Contains []string // the text has one of these in it
}

// Identity is where a device says what it is.
type Identity struct{ Maker, Model, Serial, Firmware *Naming }

// Naming is a text that is fixed, or that is read from the device.
type Naming struct {
	Text  string
	Field *Field
}

// Command is an action that the profile allows.
type Command struct {
	Action string
	Steps  []Step
	Check  *Check // how it is confirmed
	Repeat bool   // harmless when it is executed twice
}

// Step is one write of a command.
type Step struct {
	At       Address
	Function byte   // 5, 6, 15 or 16
	Value    uint64 // raw; for a coil that is switched on 0xFF00
	Arg      *Arg   // the value comes from this argument instead
	Field    Field  // how an argument is coded
	Choose   *Choose
}

// Arg is a number that a command brings.
type Arg struct {
	Name  string
	Range [2]float64
	Type  string // what the caller is told: number
}

// Choose moves a step to one of several like outputs.
type Choose struct {
	Arg          string
	First, Count int // names of the outputs: First to First+Count-1
	Stride       int // from the address of one to that of the next
}

// Check confirms a command by reading.
type Check struct {
	Point    string        // of the catalogue; it must have one of the words
	Words    []string      //
	Field    *Field        // or this field reads back what was written
	Within   time.Duration // how long the device may take
	Interval time.Duration // between two looks
}

// Guards are the model's rules against values that cannot be.
type Guards struct {
	NullFrame []string // when all of these points are zero or absent, the device gave an empty frame: no reading counts
	Frozen    int      // after so many polls with every value the same while power flows, the values are stale; 0: no rule
	Counters  bool     // a lifetime counter that falls or leaps is held back until it is confirmed
	RatedW    float64  // where the maker's rating is fixed; 0: from the device or not known
	Rated     *Field   // where the device tells its rated power, in W
}

// Quirk is an oddity of the model that the firmware note explains.
type Quirk struct{ ID, What string }

// SunSpec says how the chain of models is found and what is read of each model.
type SunSpec struct {
	Bases  []uint16
	Part   int            // which of the devices behind one unit id: each begins with a common model
	Stated bool           // the profile says so itself: another device may have the same unit id
	Models []SunSpecModel // in order of preference: of a family, the first that a device has is read
}

// SunSpecModel is what is read of one or several SunSpec models that are laid out alike. Addresses in it count from the
// model's id register.
type SunSpecModel struct {
	IDs      []uint16
	Kind     catalogue.DeviceKind // of the devices that have it
	Title    string
	Family   string
	Lengths  []int // that are legal; empty: any
	Points   []Point
	Repeat   *Repeat
	Commands []Command
	Rated    *Field
}

// Repeat is a group of registers that comes several times in a model. In its points {n} stands for 1, 2, 3 ...
type Repeat struct {
	At, Size int
	Count    *Field // how many; absent or too many: as many as the model's length has room for
	Skip     *Test  // a group for which this holds is not one of them
	Points   []Point
}
