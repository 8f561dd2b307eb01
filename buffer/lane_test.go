package buffer

import "testing"

// TestSettledLiveIsNotBacklog: an event acknowledged on the live lane is not delivered again while its deletion waits
// for a transaction.
func TestSettledLiveIsNotBacklog(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the result does not matter
	for range 3 {
		if _, err := s.Append(Event, 1, 1, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range s.Fresh(3) {
		if err := s.Settle([]ID{r.ID}); err != nil {
			t.Fatal(err)
		}
	}
	recs, err := s.Backlog(Event, 10)
	if err != nil || len(recs) != 0 {
		t.Errorf("delivered again: %v, %v", recs, err)
	}
}
