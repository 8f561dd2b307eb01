package record

import (
	"testing"

	"bordo/buffer"
)

// TestInStore: rows go through the real store and its files, and come back in order and to the byte.
func TestInStore(t *testing.T) {
	dir := t.TempDir()
	want := day().records(700, noon)
	open := func() *buffer.Store {
		t.Helper()
		s, err := buffer.Open(dir, buffer.Options{Codec: NewCodec()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	for i := range want {
		id, err := s.Append(buffer.Reading, want[i].From, want[i].To, want[i].Payload)
		if err != nil {
			t.Fatal(err)
		}
		want[i].ID = id
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	var got []buffer.Record
	for len(got) < len(want) {
		recs, err := s.Backlog(buffer.Reading, 100)
		if err != nil || len(recs) == 0 {
			t.Fatalf("%d records of %d, %v", len(got), len(want), err)
		}
		got = append(got, recs...)
	}
	for i := range want {
		want[i].Class = buffer.Reading
	}
	compare(t, got, want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
