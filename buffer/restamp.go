package buffer

import "fmt"

// Restamp lets change correct the time of records that nothing outside the store has seen, and returns how many it
// changed. It serves the first synchronisation of a clock that was not set. change receives each record that was never
// delivered (by Fresh, Backlog or Records, released since or not), is neither sealed nor being sealed, and cannot have
// reached the disk in a failed transaction. Once one of these has happened, a record's payload is final.
//
// change returns the record with a new From, To or Payload, and true; or false, which leaves the record unchanged. It
// may overwrite r.Payload in place if it then returns true; if it returns another slice, the store owns that. Identity
// and class never change. Restamp panics on a payload that Append would refuse, because that is a bug of the caller.
//
// The whole pass is atomic towards every other method: Fresh returns records either all from before or all from after
// it, and no transaction mixes them. It does not wait for the disk. change runs under the store's lock: it must be
// quick and must not call the store.
func (s *Store) Restamp(change func(r Record) (Record, bool)) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh.each(func(e *entry) bool {
		if e.blk != nil || e.seen || e.sealing {
			return true
		}
		size := len(e.rec.Payload)
		r, ok := change(e.rec)
		if !ok {
			return true
		}
		if len(r.Payload) == 0 || len(r.Payload) > MaxPayload {
			panic(fmt.Sprintf("restamp %s: payload of %d bytes", e.rec.ID, len(r.Payload)))
		}
		e.rec.From, e.rec.To, e.rec.Payload = r.From, r.To, r.Payload
		grown := int64(len(r.Payload) - size)
		s.fresh.bytes += grown
		s.fresh.unsealed += grown
		n++
		return true
	})
	return n
}
