package sim

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"bordo/sim/plant"
)

// FaultKind is a kind of thing that goes wrong.
type FaultKind string

// Faults of single exchanges on a line. Chance is their probability.
const (
	Drop      FaultKind = "drop"       // the reply is lost
	Late      FaultKind = "late"       // the reply arrives By later; By defaults to at most the model's latest reply
	Garble    FaultKind = "garble"     // bits of the reply are flipped
	Truncate  FaultKind = "truncate"   // the reply breaks off
	Echo      FaultKind = "echo"       // the request comes back before the reply: an adapter that hears itself
	WrongUnit FaultKind = "wrong-unit" // another device seems to answer
	Exception FaultKind = "exception"  // the device answers exception Code (default 4)
	Busy      FaultKind = "busy"       // exception 6: the device says that it is busy
	Noise     FaultKind = "noise"      // random bytes before the reply
)

// Faults of a device that last.
const (
	Silent    FaultKind = "silent"    // it does not answer: asleep, without power
	Stuck     FaultKind = "stuck"     // its registers keep the values of the moment
	Null      FaultKind = "null"      // every register reads 0, as some loggers answer when their own bus is dead
	Reset     FaultKind = "reset"     // its counters start from 0 (once, when the window begins)
	Broken    FaultKind = "broken"    // an inverter: an internal fault
	Limit     FaultKind = "limit"     // of an inverter: its power is limited to Code per cent of the rating
	Obstacle  FaultKind = "obstacle"  // a barrier: the arm pushes against something
	Photocell FaultKind = "photocell" // a barrier: something is in the way
	Loop      FaultKind = "loop"      // of a barrier: a vehicle stands on the loop
	Key       FaultKind = "key"       // a barrier: the manual key is turned
	Wire      FaultKind = "wire"      // an I/O module: the wire of channel Point is broken
)

// What happens to a whole line, or to the whole site.
const (
	Gone     FaultKind = "gone"      // the cable is pulled, the adapter is lost, TCP is refused
	MainsCut FaultKind = "mains-cut" // no voltage from the public network
)

// What happens to the broker.
const (
	BrokerGone FaultKind = "broker-gone" // no connection is possible, and open ones break
	AckEaten   FaultKind = "ack-eaten"   // a PUBACK is lost
	AckLate    FaultKind = "ack-late"    // a PUBACK arrives By later
	Slow       FaultKind = "slow"        // everything that the broker sends arrives By later, in order
	// client messages do not arrive, and the connections stay open; they are lost with connections that break
	Stalled FaultKind = "stalled"
	Refused FaultKind = "refused" // CONNECT is answered with "not authorised"
	Denied  FaultKind = "denied"  // publications are acknowledged and discarded, as mosquitto does against its ACL
	Stolen  FaultKind = "stolen"  // another client connects with the same client id (once, when the window begins)

	Oversize FaultKind = "oversize" // a packet above Code KiB ends the connection
	// the message is acknowledged and dropped, and then the connection ends, as with mosquitto
	OversizeAcked FaultKind = "oversize-acked"
	// a publication on a topic of the kind Point (event, tele, ...) ends the connection
	TopicClosed  FaultKind = "topic-closed"
	RetainClosed FaultKind = "retain-closed" // a retained publication ends the connection
	WillClosed   FaultKind = "will-closed"   // a CONNECT with a last will ends the connection
	// a SUBSCRIBE ends the connection; with Point only one for a topic of that kind (ack, status)
	SubscribeClosed FaultKind = "subscribe-closed"
	SubscribeMute   FaultKind = "subscribe-mute" // a SUBSCRIBE is not answered
	// more than Code publications within a minute of the clock end the connection
	Quota FaultKind = "quota"
)

// What happens on the network between clients and a broker: see Proxy.
const (
	// a chunk arrives up to By later (5 s), and all behind it; Chance applies to each chunk
	LinkLate    FaultKind = "link-late"
	LinkStalled FaultKind = "link-stalled" // nothing passes; it does later, if the connection still exists
	LinkCut     FaultKind = "link-cut"     // the same, and new connections are impossible
	// open connections carry nothing any more, for good, and neither side notices
	HalfOpen    FaultKind = "half-open"
	MidPacket   FaultKind = "mid-packet"   // the connection is reset in the middle of a chunk
	PubackEaten FaultKind = "puback-eaten" // a PUBACK is lost
	Corrupt     FaultKind = "corrupt"      // one bit of a chunk is flipped
	LinkNarrow  FaultKind = "link-narrow"  // clients can send Code x 100 bytes a second (12), all of them together
	// a client's chunk of more than 1300 bytes is lost, and with it everything after it on the connection
	BlackHole FaultKind = "black-hole"
)

// What happens to the box.
const (
	ClockJump FaultKind = "clock-jump" // the wall clock jumps by By (once, when the window begins)
	ClockFree FaultKind = "clock-free" // the clock was not set
	DiskFull  FaultKind = "disk-full"  // no byte is free
	Kill      FaultKind = "kill"       // the process dies without a word (once, when the window begins)
)

// where maps each kind to its place.
var where = map[FaultKind]string{
	Drop: "exchange", Late: "exchange", Garble: "exchange", Truncate: "exchange", Echo: "exchange",
	WrongUnit: "exchange",
	Exception: "exchange", Busy: "exchange", Noise: "exchange",
	Silent: "device", Stuck: "device", Null: "device", Reset: "device",
	Broken: "device", Limit: "device", Obstacle: "device", Photocell: "device", Loop: "device", Key: "device",
	Wire: "device",
	Gone: "line", MainsCut: "mains",
	BrokerGone: "broker", AckEaten: "broker", AckLate: "broker", Slow: "broker", Stalled: "broker", Refused: "broker",
	Denied: "broker", Stolen: "broker",
	Oversize: "broker", OversizeAcked: "broker", TopicClosed: "broker", RetainClosed: "broker", WillClosed: "broker",
	SubscribeClosed: "broker", SubscribeMute: "broker", Quota: "broker", BlackHole: "link", LinkNarrow: "link",
	LinkLate: "link", LinkStalled: "link", LinkCut: "link", HalfOpen: "link", MidPacket: "link", PubackEaten: "link",
	Corrupt:   "link",
	ClockJump: "box", ClockFree: "box", DiskFull: "box", Kill: "box",
}

// FaultKinds lists the kinds that are possible at a place: "line" (with the exchanges and devices on it), "mains",
// "link", "broker" or "box".
func FaultKinds(place string) []FaultKind {
	var out []FaultKind
	for k, w := range where {
		if w == place || place == "line" && (w == "exchange" || w == "device") {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// Fault is something that goes wrong, and when.
//
// Without a time table it lasts from the beginning to the end. At, For and Every form a table: from At on, for For,
// again after each Every. With Odds, the windows of Every are drawn: in each, with these odds, it occurs once, at a
// drawn moment. Within a window, Chance applies to each exchange, or to each acknowledgement.
type Fault struct {
	Kind   FaultKind     `yaml:"fault" json:"fault"`
	Device string        `yaml:"device" json:"device,omitempty"` // of the line; empty: all of them
	Chance float64       `yaml:"chance" json:"chance,omitempty"` // 0 means 1
	At     time.Duration `yaml:"at" json:"at,omitempty"`
	For    time.Duration `yaml:"for" json:"for,omitempty"`
	Every  time.Duration `yaml:"every" json:"every,omitempty"`
	Odds   float64       `yaml:"odds" json:"odds,omitempty"`
	By     time.Duration `yaml:"by" json:"by,omitempty"`
	Code   int           `yaml:"code" json:"code,omitempty"`
	// of stuck: only this point; of wire: the channel; of topic-closed and subscribe-closed: the kind of topic
	Point string `yaml:"point" json:"point,omitempty"`
}

// armed is a fault that waits for its time.
type armed struct {
	Fault
	id   int
	from time.Time // the zero of its time table
	dice plant.Dice
}

// window reports whether the fault is on at a time, which of its windows that is, and when that can change next (zero:
// never).
func (a *armed) window(now time.Time) (on bool, n uint64, next time.Time) {
	begin := a.from.Add(a.At)
	if now.Before(begin) {
		return false, 0, begin
	}
	if a.Every == 0 {
		if a.For == 0 {
			return true, 0, time.Time{}
		}
		if end := begin.Add(a.For); now.Before(end) {
			return true, 0, end
		}
		return false, 0, time.Time{}
	}
	n = uint64(now.Sub(begin) / a.Every)
	start := begin.Add(time.Duration(n) * a.Every)
	over := start.Add(a.Every)
	if a.Odds > 0 {
		if a.dice.Float(2*n) >= a.Odds {
			return false, n, over
		}
		start = start.Add(time.Duration(a.dice.Float(2*n+1) * float64(a.Every-a.For)))
	}
	switch end := start.Add(a.For); {
	case now.Before(start):
		return false, n, start
	case now.Before(end):
		return true, n, end
	default:
		return false, n, over
	}
}

// faults is what can go wrong at one place. Its methods may be called from several goroutines.
type faults struct {
	seed  uint64
	actor string

	mu     sync.Mutex
	list   []*armed
	made   int
	change func() // called when the list changes; may be nil
}

func newFaults(seed uint64, actor string, from time.Time, list []Fault) *faults {
	fs := &faults{seed: seed, actor: actor}
	for _, f := range list {
		fs.raise(f, from)
	}
	return fs
}

// raise adds a fault whose time table begins at from and returns the number by which it can be cleared. It forgets
// faults that are over.
func (fs *faults) raise(f Fault, from time.Time) int {
	fs.mu.Lock()
	fs.list = slices.DeleteFunc(fs.list, func(a *armed) bool {
		on, _, next := a.window(from)
		return !on && next.IsZero()
	})
	fs.made++
	a := &armed{Fault: f, id: fs.made, from: from}
	a.dice = plant.NewDice(fs.seed, fmt.Sprintf("%s/%s/%s/%d", fs.actor, f.Kind, f.Device, fs.made))
	fs.list = append(fs.list, a)
	change := fs.change
	fs.mu.Unlock()
	if change != nil {
		change()
	}
	return a.id
}

// clear removes the fault with a number, or all with 0, and returns their count.
func (fs *faults) clear(id int) int {
	fs.mu.Lock()
	before := len(fs.list)
	fs.list = slices.DeleteFunc(fs.list, func(a *armed) bool { return id == 0 || a.id == id })
	removed, change := before-len(fs.list), fs.change
	fs.mu.Unlock()
	if change != nil && removed > 0 {
		change()
	}
	return removed
}

// on reports whether a fault of a kind is on for a device (or for all), and which.
func (fs *faults) on(kind FaultKind, device string, now time.Time) (Fault, uint64, bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, a := range fs.list {
		if a.Kind != kind || a.Device != "" && a.Device != device {
			continue
		}
		if on, n, _ := a.window(now); on {
			return a.Fault, uint64(a.id)<<32 | n, true
		}
	}
	return Fault{}, 0, false
}

// hit draws whether a fault of a kind strikes the n-th exchange with a device.
func (fs *faults) hit(kind FaultKind, device string, n uint64, now time.Time) (Fault, bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, a := range fs.list {
		if a.Kind != kind || a.Device != "" && a.Device != device {
			continue
		}
		if on, _, _ := a.window(now); !on {
			continue
		}
		if a.Chance == 0 || a.Chance == 1 || a.dice.Float(1<<40+n) < a.Chance {
			return a.Fault, true
		}
	}
	return Fault{}, false
}

// next returns when the state of any fault can change, zero if never.
func (fs *faults) next(now time.Time) time.Time {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var first time.Time
	for _, a := range fs.list {
		if _, _, t := a.window(now); !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// all lists the faults for a person.
func (fs *faults) all() map[int]Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	out := make(map[int]Fault, len(fs.list))
	for _, a := range fs.list {
		out[a.id] = a.Fault
	}
	return out
}

// isOn reports whether the fault with a number is on.
func (fs *faults) isOn(id int, now time.Time) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, a := range fs.list {
		if a.id == id {
			on, _, _ := a.window(now)
			return on
		}
	}
	return false
}
