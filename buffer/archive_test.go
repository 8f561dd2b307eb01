package buffer

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestRecords: stored records can be selected by class, identity and time, whether acknowledged or not, sealed or not,
// and from earlier epochs too.
func TestRecords(t *testing.T) {
	dir := memDir(t)
	synctest.Test(t, func(t *testing.T) {
		o := Options{History: 1 << 20, EnergyHistory: 1 << 20}
		byName := map[string]ID{}
		put := func(s *Store, name string, c Class, from, to int64) {
			id, err := s.Append(c, from, to, []byte(name))
			if err != nil {
				t.Fatal(err)
			}
			byName[name] = id
			synctest.Wait() // lets the run loop finish, so that it seals in this order
		}
		settle := func(s *Store, name string) {
			if err := s.Settle([]ID{byName[name]}); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir, o)
		put(s, "old event", Event, 0, 0)
		put(s, "old kept reading", Reading, 1000, 1010) // acknowledged immediately, so sealed last, into the history
		settle(s, "old kept reading")
		put(s, "old reading", Reading, 2000, 2010)
		put(s, "old interval", Interval, 1000, 901_000)
		old := byName["old event"].Epoch
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, o)
		settle(s, "old interval")
		put(s, "sealed reading", Reading, 3000, 3010)
		pass(6 * time.Second)
		settle(s, "sealed reading") // stays on disk, because its segment is not full
		put(s, "kept reading", Reading, 4000, 4010)
		settle(s, "kept reading")
		put(s, "fresh reading", Reading, 5000, 5010)
		put(s, "card", Card, 3000, 3010)
		if _, err := s.AppendPrivate(Reading, 3000, 3010, []byte("private reading")); err != nil {
			t.Fatal(err)
		}
		now := byName["fresh reading"].Epoch

		for _, c := range []struct {
			name string
			q    Query
			want []string
		}{
			{"all", Query{}, []string{
				"old event", "old interval", "old reading", "old kept reading", "sealed reading",
				"kept reading", "fresh reading",
			}},
			{"a class", Query{Classes: []Class{Interval}}, []string{"old interval"}},
			{"cards", Query{Classes: []Class{Card}}, nil},
			{"an epoch", Query{Epoch: old}, []string{"old event", "old interval", "old reading", "old kept reading"}},
			{"a range", Query{Epoch: old, First: byName["old kept reading"].Seq, Last: byName["old reading"].Seq},
				[]string{"old reading", "old kept reading"}},
			{"a range of the current epoch", Query{Epoch: now, First: byName["kept reading"].Seq},
				[]string{"kept reading", "fresh reading"}},
			{"a time", Query{From: 2005, To: 4000},
				[]string{"old interval", "old reading", "sealed reading", "kept reading"}},
			{"from a time on", Query{Classes: []Class{Reading}, From: 3011}, []string{"kept reading", "fresh reading"}},
			{"up to a time", Query{Classes: []Class{Reading}, To: 1999}, []string{"old kept reading"}},
		} {
			var got []string
			for r, err := range s.Records(c.q) {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, string(r.Payload)); byName[string(r.Payload)] != r.ID {
					t.Errorf("%s: %q is %s", c.name, r.Payload, r.ID)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
	})
}
