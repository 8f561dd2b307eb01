package buffer

import (
	"cmp"
	"slices"
	"time"
)

// Acknowledged history is written rarely and in large blocks: losing some of it costs little, and this spares the
// flash.
const (
	// historyBytes is the payload of one block of history.
	historyBytes = blockPayload * 3 / 4
	// historyWait is how long records may wait in memory to fill a block.
	historyWait = time.Hour
)

// historyQueue holds acknowledged, never sealed records on their way into the history. Its methods are called with
// Store.mu held.
type historyQueue struct {
	queue [classes]classQueue
	now   bool // write everything that waits
}

// classQueue is the queue of one class.
type classQueue struct {
	recs  []Record
	bytes int
	since time.Time
	taken bool // a transaction is writing the first of recs
}

func (q *classQueue) full() bool { return q.bytes >= historyBytes || len(q.recs) >= blockRecords }

// add queues a record and reports whether it is the first in its queue. When nothing could be written for long and the
// queue is four blocks long, it drops the older half.
func (k *historyQueue) add(c Class, r Record) bool {
	q := &k.queue[c]
	if !q.taken && (q.bytes > 4*historyBytes || len(q.recs) > 4*blockRecords) {
		half := len(q.recs) / 2
		for _, r := range q.recs[:half] {
			q.bytes -= r.cost()
		}
		q.recs = slices.Clone(q.recs[half:])
	}
	q.recs = append(q.recs, r)
	q.bytes += r.cost()
	if len(q.recs) == 1 {
		q.since = time.Now()
		return true
	}
	return false
}

func (k *historyQueue) full() bool {
	return slices.ContainsFunc(k.queue[:], func(q classQueue) bool { return q.full() })
}

// force makes everything due.
func (k *historyQueue) force() { k.now = true }

// due returns when the next block of history is due, zero when nothing waits.
func (k *historyQueue) due() (at time.Time) {
	for i := range k.queue {
		q := &k.queue[i]
		if len(q.recs) == 0 {
			continue
		}
		t := q.since.Add(historyWait)
		if q.full() || k.now {
			t = q.since
		}
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

// take returns the records of one due block, in order, and the class under which it is stored.
func (k *historyQueue) take(now time.Time) (Class, []Record) {
	for c := range k.queue {
		q := &k.queue[c]
		if len(q.recs) == 0 || !q.full() && !k.now && now.Before(q.since.Add(historyWait)) {
			continue
		}
		slices.SortFunc(q.recs, func(a, b Record) int {
			return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Seq, b.Seq))
		})
		size, n := 0, 0
		for n < len(q.recs) && n < blockRecords && q.recs[n].Epoch == q.recs[0].Epoch &&
			(n == 0 || size+q.recs[n].cost() <= blockPayload) {
			size += q.recs[n].cost()
			n++
		}
		q.taken = true
		return Class(c), q.recs[:n:n]
	}
	return 0, nil
}

// putBack returns the records of take to the queue, because they were not written.
func (k *historyQueue) putBack(c Class) { k.queue[c].taken = false }

// done removes the records of take after they were written.
func (k *historyQueue) done(c Class, recs []Record) {
	q := &k.queue[c]
	q.taken = false
	for _, r := range recs {
		q.bytes -= r.cost()
	}
	if q.recs = q.recs[len(recs):]; len(q.recs) == 0 {
		*q = classQueue{}
	}
}

func (k *historyQueue) bytesOf(c Class) int64 { return int64(k.queue[c].bytes) }
