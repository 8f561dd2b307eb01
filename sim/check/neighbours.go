// A device that nothing happens to is reported at its pace, whatever happens to others.

package check

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"bordo/contract"
)

// Neighbours claims that devices to which nothing happens keep their pace, by the clock of their node.
type Neighbours struct {
	site   Site
	every  map[string]time.Duration // of the devices that are well
	epochs map[string]*epochPace    // by node and epoch
	down   time.Duration            // while the box was dead
	begin  time.Time
	finish time.Time
}

// epochPace is what an epoch shows of healthy devices.
type epochPace struct {
	polls   map[string]map[uint64]int64 // the stamp of each sample, ms, by device and number
	sets    []int64                     // ms by which the clock was set
	evicted evictions
}

// The pace that a healthy device must keep.
const (
	keptShare = 0.95            // of its polls
	longHole  = 3               // times its pace, and not longer
	holeSlack = 2 * time.Second // for starting and for a running poll cycle
)

// NewNeighbours makes the checker for the devices that are well, with their paces, from a moment on.
func NewNeighbours(site Site, begin time.Time, every map[string]time.Duration) *Neighbours {
	return &Neighbours{site: site, begin: begin, every: every, epochs: map[string]*epochPace{}}
}

// Name implements Checker.
func (*Neighbours) Name() string { return "neighbours-unharmed" }

// Down declares that the box was dead between two moments: nothing was polled, or the polls may be lost.
func (c *Neighbours) Down(from, to time.Time) { c.down += to.Sub(from) }

// Until sets the time up to which samples are expected.
func (c *Neighbours) Until(end time.Time) { c.finish = end }

// See implements Checker. The opening of the store is where an epoch begins for every device.
func (c *Neighbours) See(m *Message) {
	switch {
	case m.Batch != nil:
		for _, s := range m.Batch.Samples {
			c.epoch(m.Node+" "+m.Batch.Ep).evicted.stamp(s.Seq, s.TS)
		}
	case m.Event != nil:
		c.epoch(m.Node+" "+m.Event.Ep).evicted.stamp(m.Event.Seq, m.Event.Time.UnixMilli())
	}
	switch {
	case m.Event != nil && m.Event.Type == contract.StoreGap:
		if ep, g, err := readGap(m); err == nil { // AtLeastOnce reports an unreadable message
			c.epoch(m.Node + " " + ep).evicted.add(g)
		}
	case m.Batch != nil && c.every[m.Batch.Dev] > 0:
		e := c.epoch(m.Node + " " + m.Batch.Ep)
		for _, s := range m.Batch.Samples {
			if _, again := e.polls[m.Batch.Dev][s.Seq]; !again {
				e.polls[m.Batch.Dev][s.Seq] = s.TS
			}
		}
	case m.Event != nil && m.Event.Type == contract.StoreOpened:
		for _, polls := range c.epoch(m.Node + " " + m.Event.Ep).polls {
			polls[m.Event.Seq] = m.Event.Time.UnixMilli()
		}
	case m.Event != nil && m.Event.Type == contract.ClockSet:
		var d struct {
			Offset int64 `json:"offset"`
		}
		if json.Unmarshal(m.Event.Data, &d) == nil {
			e := c.epoch(m.Node + " " + m.Event.Ep)
			e.sets = append(e.sets, d.Offset)
		}
	}
}

func (c *Neighbours) epoch(key string) *epochPace {
	if c.epochs[key] == nil {
		e := &epochPace{polls: map[string]map[uint64]int64{}}
		for dev := range c.every {
			e.polls[dev] = map[uint64]int64{}
		}
		c.epochs[key] = e
	}
	return c.epochs[key]
}

// Judge implements Checker. Evicted readings explain a hole: the pace is checked only up to the gap and after it.
func (c *Neighbours) Judge() []string {
	var found findings
	for _, dev := range slices.Sorted(maps.Keys(c.every)) {
		every, kept, holes := c.every[dev], 0, 0
		var evicted time.Duration
		for _, key := range slices.Sorted(maps.Keys(c.epochs)) {
			e := c.epochs[key]
			kept += len(e.polls[dev])
			evicted += e.evicted.lasted()
			moves := c.moves(e)
			seqs := slices.Sorted(maps.Keys(e.polls[dev]))
			for i := 1; i < len(seqs); i++ {
				hole := e.hole(dev, seqs[i-1], seqs[i], moves)
				if hole > longHole*every+holeSlack {
					if holes++; holes <= 3 {
						found.add("%s, polled each %s, has a hole of %s before %s (%s-%d)", dev, every, hole,
							time.UnixMilli(e.polls[dev][seqs[i]]).UTC().Format(time.TimeOnly), key, seqs[i])
					}
				}
			}
		}
		expected := float64(c.finish.Sub(c.begin)-c.down-evicted) / float64(every)
		if float64(kept) < keptShare*expected-2 {
			found.add("%s kept %d of about %.0f polls", dev, kept, expected)
		}
	}
	return found.all()
}

// hole is the longest time between two consecutive polls of a device that no eviction explains.
func (e *epochPace) hole(dev string, from, to uint64, moves []int64) (longest time.Duration) {
	last := e.polls[dev][from]
	for _, g := range e.evicted.between(from, to) {
		longest = max(longest, shortest(max(0, e.evicted.at(g.from)-last), moves))
		last = e.evicted.at(g.to)
	}
	return max(longest, shortest(e.polls[dev][to]-last, moves))
}

// moves lists by how many ms the node's clock may have been moved between two samples of an epoch.
func (c *Neighbours) moves(e *epochPace) []int64 {
	out := append([]int64{0}, e.sets...)
	offsets := c.site.Offsets(c.finish)
	for _, a := range offsets {
		for _, b := range offsets {
			out = append(out, (a - b).Milliseconds())
		}
	}
	return out
}

// shortest is the time between two stamps if the clock was moved in between in the way that explains most.
func shortest(ms int64, moves []int64) time.Duration {
	best := int64(math.MaxInt64 / int64(time.Millisecond))
	for _, move := range moves {
		best = min(best, max(ms-move, move-ms))
	}
	return time.Duration(best) * time.Millisecond
}
