package sim

import (
	"sort"
	"sync"
	"time"

	"bordo/drivers/catalogue"
)

// Number of remembered changes of one point; the oldest eighth is dropped at the limit. A register changes with each
// request, and a bad line takes several requests per poll: a week of polls every 10 s needs 300,000.
const (
	maxTruth    = 1 << 20 // in memory, where a checker asks for them
	servedTruth = 1 << 16 // of a site that is served: a day at one request a second, and 3 MB
)

// truth remembers what the registers of a device held, and when: what an agent publishes can be held against it.
type truth struct {
	most int // changes of one point

	mu     sync.Mutex
	points map[string]*series
}

// series is what one point held, change after change. Times are nanoseconds since 1970.
type series struct {
	at    []int64 // since when it held a value
	seen  []int64 // and when that was last so
	value []catalogue.Value
	cut   bool // the beginning was thrown away
}

func newTruth(most int) *truth { return &truth{most: most, points: map[string]*series{}} }

// note records that a point holds a value from now on.
func (t *truth) note(point string, v catalogue.Value, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.points[point]
	if s == nil {
		s = &series{}
		t.points[point] = s
	}
	n := len(s.at)
	if n > 0 && s.value[n-1] == v {
		s.seen[n-1] = now.UnixNano()
		return
	}
	if n == t.most {
		s.at = append(s.at[:0], s.at[n/8:]...)
		s.seen = append(s.seen[:0], s.seen[n/8:]...)
		s.value = append(s.value[:0], s.value[n/8:]...)
		s.cut = true
	}
	s.at, s.seen, s.value = append(s.at, now.UnixNano()), append(s.seen, now.UnixNano()), append(s.value, v)
}

// renewed is how long a register is assumed to hold a value that is not observed again: simulated registers change only
// when they are read, and those of a real device would have changed meanwhile.
const renewed = time.Second

// held lists every value that a point had between two times, both included. ok is false when nothing is known of that
// span: the point is not one of the device's, or it is too long ago.
func (t *truth) held(point string, from, to time.Time) (values []catalogue.Value, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.points[point]
	if s == nil {
		return nil, false
	}
	begin, end := from.UnixNano(), to.UnixNano()
	first := sort.Search(len(s.at), func(i int) bool { return s.at[i] > begin }) - 1 // its value when the span began
	if first < 0 {
		if s.cut {
			return nil, false
		}
		first = 0
	}
	if first+1 < len(s.at) && s.at[first+1] <= end && s.seen[first]+renewed.Nanoseconds() < begin {
		first++ // it had changed by then
	}
	for i := first; i < len(s.at) && s.at[i] <= end; i++ {
		values = append(values, s.value[i])
	}
	return values, len(values) > 0
}
