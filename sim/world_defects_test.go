//go:build world

package sim_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/sim"
)

// The world in which defects are shown: an hour and a quarter with one outage, in which a device is silent for a while, and
// one power cut after it. Nothing else goes wrong.
const (
	provedFor  = 75 * time.Minute
	awayAt     = 20 * time.Minute
	awayFor    = 20 * time.Minute
	cutAt      = 50 * time.Minute
	provedDisk = 8 << 20 // bytes a day
)

func provedWorld() *sim.Scenario {
	s := sim.Chaos(1)
	s.Sun.From = "2026-06-21T10:00"
	s.Lines = slices.DeleteFunc(s.Lines, func(l sim.Line) bool { return l.ID == "roof" || l.ID == "arm" })
	for i := range s.Lines {
		s.Lines[i].Faults = nil
	}
	s.Lines[1].Faults = []sim.Fault{{Kind: sim.Silent, Device: "meter-2", At: awayAt + 2*time.Minute,
		For: 5 * time.Minute}}
	s.Broker.Faults = []sim.Fault{{Kind: sim.BrokerGone, At: awayAt, For: awayFor}}
	s.Host.Faults = []sim.Fault{{Kind: sim.Kill, At: cutAt, For: time.Second}}
	return s
}

// Each defect, in the real agent with its real drivers and store, makes exactly the checker fail that is there for it. A
// defect lives in what the machine gives to the agent, in its configuration, or in the broker: none has a place in the
// program. Without one nobody complains.
func TestWorldProvesItsCheckers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		spec       func(s *sim.Scenario)
		defect     func() defect
	}{
		{"none", "", nil, nil},
		{"records are dropped after the acknowledgement", "at-least-once-or-gap", func(s *sim.Scenario) {
			s.Broker.Faults = append(s.Broker.Faults,
				sim.Fault{Kind: sim.Denied, At: 10 * time.Minute, For: 12 * time.Second})
		}, nil},
		{"a power cut takes minutes", "at-least-once-or-gap",
			func(s *sim.Scenario) { s.Host.Faults[0].At = awayAt + 4*time.Minute }, sealsLate},
		{"a number is used again", "identity-once", nil, usesNumbersAgain},
		{"a late reply is taken for the next answer", "nothing-invented", nil, answersLate},
		{"a glitch of a counter is booked", "quarter-hours-add-up", nil, booksGlitches},
		{"events are sent after readings", "events-before-readings", nil, sendsEventsLast},
		{"the end of a condition is told as a beginning", "condition-rate", nil, raisesTwice},
		{"a queue without a bound", "bounded", nil, queuesWithoutBound},
		{"a dead device starves the others", "neighbours-unharmed", func(s *sim.Scenario) {
			s.Lines[1].Faults = []sim.Fault{{Kind: sim.Silent, At: 10 * time.Minute, For: 30 * time.Minute}}
		}, starvesNeighbours},
		{"the backlog never drains", "drains", nil, neverDrains},
		{"too much is written", "quiet-card", nil, writesTooMuch},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := storeDir(t)
			synctest.Test(t, func(t *testing.T) {
				spec, o := provedWorld(), options{drained: 10 * time.Minute}
				if c.spec != nil {
					c.spec(spec)
				}
				if c.defect != nil {
					o.defect = c.defect()
				}
				if c.want == "quiet-card" || c.want == "" {
					spec.Broker.Faults, spec.Host.Faults = nil, nil // its claim is about a healthy link
					o.card = provedDisk
				}
				var names []string
				verdicts := newWorld(t, dir, 2, spec, o).live(provedFor)
				for _, v := range verdicts {
					names = append(names, v.Checker)
				}
				names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(follows[c.want], n) })
				if strings.Join(names, ", ") != c.want {
					t.Errorf("complaints of %v, want %q", names, c.want)
					for _, v := range verdicts {
						t.Log(v)
					}
				}
			})
		})
	}
}

// follows lists what may come with a complaint. A message that never gets through has its topic set aside, so its records still
// wait in the store when the world ends.
var follows = map[string][]string{
	"drains":                 {"at-least-once-or-gap"},
	"events-before-readings": {"at-least-once-or-gap", "drains"},
}

// sealsLate configures the store so that nothing is safe for five minutes.
func sealsLate() defect {
	return defect{config: func(text string) string {
		return strings.Replace(text, "buffer: {", "buffer: {sync: 5m, ",
			1)
	}}
}

var seqOf = regexp.MustCompile(`"seq":(\d+)`)

// usesNumbersAgain sends some batches a second time under the number of the batch before.
func usesNumbersAgain() defect {
	var before []byte
	n := 0
	return defect{system: linked(func() *link {
		return &link{up: func(p packet) []packet {
			if p.kind() != publishPacket || !strings.Contains(p.topic(), "/tele/meter-1") {
				return []packet{p}
			}
			out := []packet{p}
			at := seqOf.FindSubmatchIndex(p)
			if n++; n%20 == 0 && len(before) == at[3]-at[2] {
				again := bytes.Clone(p)
				copy(again[at[2]:at[3]], before)
				out = append(out, again)
			}
			before = bytes.Clone(p[at[2]:at[3]])
			return out
		}}
	})}
}

// latePort gives some requests the answer that the same request had before, instead of its own.
type latePort struct {
	drivers.Port
	n       int
	asked   string
	answers map[string][]byte
	late    []byte
}

func (p *latePort) Write(b []byte) (int, error) {
	p.asked, p.late = string(b), nil
	if p.n++; p.n%50 == 0 {
		p.late = bytes.Clone(p.answers[p.asked])
	}
	delete(p.answers, p.asked)
	return p.Port.Write(b)
}

func (p *latePort) Read(b []byte) (int, error) {
	n, err := p.Port.Read(b)
	p.answers[p.asked] = append(p.answers[p.asked], b[:n]...)
	p.late = p.late[copy(b[:n], p.late):]
	return n, err
}

// answersLate lets the serial line give late replies that nobody can tell from the right ones.
func answersLate() defect {
	return defect{system: func(s agent.System) agent.System {
		open := s.OpenPort
		s.OpenPort = func(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
			p, err := open(ctx, e)
			if err != nil || e.Scheme != line.Serial {
				return p, err
			}
			return &latePort{Port: p, answers: map[string][]byte{}}, nil
		}
		return s
	}}
}

var kwhOf = regexp.MustCompile(`"kwh":(\d)`)

// booksGlitches changes the first digit of the energy of quarters.
func booksGlitches() defect {
	return defect{system: linked(func() *link {
		return &link{up: func(p packet) []packet {
			if p.kind() != publishPacket || !strings.Contains(p.topic(), "/event/inv-1") {
				return []packet{p}
			}
			p = bytes.Clone(p)
			if at := kwhOf.FindSubmatchIndex(p); at != nil {
				p[at[2]] = '9'
			}
			return []packet{p}
		}}
	})}
}

// sendsEventsLast holds conditions back until readings of the backlog have gone.
func sendsEventsLast() defect {
	return defect{system: linked(func() *link {
		var mu sync.Mutex
		var held, acks []packet // events on their way, and what acknowledges them to the agent
		return &link{
			up: func(p packet) []packet {
				mu.Lock()
				defer mu.Unlock()
				out := []packet{p}
				switch {
				case p.kind() == publishPacket && bytes.Contains(p, []byte("bordo.condition.")):
					held = append(held, bytes.Clone(p))
					acks = append(acks, packet{pubackPacket << 4, 2, byte(p.id() >> 8), byte(p.id())})
					return nil
				case p.kind() == publishPacket && strings.Contains(p.topic(), "/hist/"):
					out = append(out, held...)
					held = nil
				}
				return out
			},
			down: func(p packet) []packet {
				mu.Lock()
				defer mu.Unlock()
				out := append(acks, p)
				acks = nil
				return out
			},
		}
	})}
}

// raisesTwice makes a beginning of each end of a condition.
func raisesTwice() defect {
	return defect{system: linked(func() *link {
		return &link{up: func(p packet) []packet {
			return []packet{bytes.Replace(p, []byte(`bordo.condition.cleared.v1"`),
				[]byte(`bordo.condition.raised.v1" `), 1)}
		}}
	})}
}

// queuesWithoutBound lets each packet wait in a goroutine of its own, for ever.
func queuesWithoutBound() defect {
	never := make(chan struct{})
	return defect{
		system: linked(func() *link {
			return &link{up: func(p packet) []packet {
				go func() { <-never }()
				return []packet{p}
			}}
		}),
		end: func() { close(never) },
	}
}

// sharedPort is one of several ports behind one lock. A request that is not answered keeps it for a minute.
type sharedPort struct {
	drivers.Port
	lock chan struct{}
	held bool
}

func (p *sharedPort) Write(b []byte) (int, error) {
	if !p.held {
		select {
		case p.lock <- struct{}{}:
			p.held = true
		case <-time.After(30 * time.Second):
			return 0, os.ErrDeadlineExceeded
		}
	}
	return p.Port.Write(b)
}

func (p *sharedPort) Read(b []byte) (int, error) {
	n, err := p.Port.Read(b)
	p.release(err)
	return n, err
}

func (p *sharedPort) Close() error {
	p.release(nil)
	return p.Port.Close()
}

func (p *sharedPort) release(err error) {
	if !p.held {
		return
	}
	p.held = false
	if err == nil {
		<-p.lock
		return
	}
	time.AfterFunc(time.Minute, func() { <-p.lock })
}

// starvesNeighbours puts all lines behind one lock.
func starvesNeighbours() defect {
	lock := make(chan struct{}, 1)
	return defect{system: func(s agent.System) agent.System {
		open := s.OpenPort
		s.OpenPort = func(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
			p, err := open(ctx, e)
			if err != nil {
				return nil, err
			}
			return &sharedPort{Port: p, lock: lock}, nil
		}
		return s
	}}
}

// neverDrains loses the acknowledgements of one message of the backlog, as often as it comes.
func neverDrains() defect {
	var mu sync.Mutex
	var lost []byte // what the message begins with
	return defect{system: linked(func() *link {
		var id uint16
		return &link{
			up: func(p packet) []packet {
				if p.kind() != publishPacket || !strings.Contains(p.topic(), "/hist/meter-2") {
					return []packet{p}
				}
				mu.Lock()
				defer mu.Unlock()
				if seq := seqOf.Find(p); lost == nil || bytes.Equal(lost, seq) {
					lost, id = bytes.Clone(seq), p.id()
				}
				return []packet{p}
			},
			down: func(p packet) []packet {
				mu.Lock()
				defer mu.Unlock()
				if p.kind() == pubackPacket && id != 0 && p.id() == id {
					return nil
				}
				return []packet{p}
			},
		}
	})}
}

// writesTooMuch writes a file each time when the store asks how much space there is.
func writesTooMuch() defect {
	n := byte(0)
	return defect{system: func(s agent.System) agent.System {
		free := s.DiskFree
		s.DiskFree = func(dir string) (uint64, error) {
			n++
			if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "journal"), bytes.Repeat([]byte{n}, 256<<10),
				0o600); err != nil {
				return 0, err
			}
			return free(dir)
		}
		return s
	}}
}
