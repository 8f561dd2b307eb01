package buffer

import "fmt"

// Restamp lets change correct the time of records that nobody knows yet, and returns how many it changed. It is for the
// first synchronisation of a clock that was not set: change gets each record that was neither handed out (by Fresh,
// Backlog or Records, released since or not) nor sealed, nor is being sealed at this moment, nor may have reached the
// disk in a transaction that failed. From the moment that one of these happened a record carries its payload for ever.
//
// change returns the record with another From, To or Payload, and true; or anything and false, which leaves the record
// as it is. It may overwrite r.Payload where it lies if it then returns true; another slice becomes the store's. Identity
// and class stay, whatever it returns. A payload that Append would refuse is a mistake of the caller: Restamp panics.
//
// The whole pass is one step towards every other method: Fresh gives records either all from before it or all from after
// it, and no transaction holds some of both. It waits for no disk. change runs under the store's lock: it must be quick
// and must not call the store.
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
