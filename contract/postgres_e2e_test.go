//go:build e2e

package contract

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"bordo/contract/foreign"
)

// TestTimescaleTables: the tables take each message once, and the views say what the messages say.
func TestTimescaleTables(t *testing.T) {
	p := foreign.NewPostgres(t)
	schema, err := os.ReadFile("examples/timescale.sql")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // as often as you like
		p.SQL(t, string(schema))
	}
	good := goldens(t)
	batch := func(name string) string {
		return fmt.Sprintf("SELECT take_batch('cremasco', $json$%s$json$);", good[name])
	}
	event := func(doc string) string { return fmt.Sprintf("SELECT take_event($json$%s$json$);", doc) }
	interval := string(good["event-energy-interval"])
	corrected := strings.NewReplacer(`"rev":0`, `"rev":1`, `"kwh":1.25`, `"kwh":1.26`, "k3f9x2q7-200",
		"k3f9x2q7-900").Replace(interval)
	for _, c := range []struct{ what, sql, want string }{
		{"a batch: three readings", batch("batch-tele"), "3"},
		{"the same again", batch("batch-tele"), "0"},
		{"a backfill", batch("batch-hist"), "6"},
		{"the same as live", strings.Replace(batch("batch-hist"), `"hist":true`, `"hist":false`, 1), "0"},
		{"states and texts", batch("batch-states"), "5"},
		{"an event", event(interval), "1"},
		{"the same again", event(interval), "0"},
		{"its correction", event(corrected), "1"},
		{"a gap", event(string(good["event-store-gap"])), "1"},
		{"a gap without an end", event(string(good["event-store-gap-open"])), "1"},
		{"a number", "SELECT value, quality, clk, extract(epoch FROM time) FROM reading WHERE point = 'ac_power'",
			"1234.5|192|sync|1760000000.000000"},
		{"a truth value", `SELECT truth, value FROM reading WHERE point = 'on'`, "t|"},
		{"a bad one", "SELECT value, truth, words, quality FROM reading WHERE point = 'flow'", "|||0"},
		{"a text", "SELECT words FROM reading WHERE point = 'alarm'", "«ostacolo» \"A\""},
		{"an uncertain one", "SELECT value, quality FROM reading WHERE point = 'position'", "-0.5|64"},
		{"milliseconds", "SELECT extract(epoch FROM time) FROM reading WHERE seq = 17 LIMIT 1", "1759990010.001000"},
		{"the highest revision", "SELECT extract(epoch FROM start)::bigint, kwh, rev, pod FROM quarter",
			"1759999500|1.26|1|IT001E12345678"},
		{"gaps", "SELECT ep, first, last, n, why FROM gap ORDER BY first",
			"k3f8a0zz|9001|9400|399|evicted\nk3f8a0zz|9401|||unclean"},
		{"what an append-only tool wrote twice",
			`INSERT INTO tele SELECT to_timestamp(1), 'cremasco', 'quintano', 'inv-1',
			jsonb_build_object('ep', 'k3f9x2q7', 'seq', s, 'hist', h, 'v_ac_power', 1) FROM generate_series(1, 3) s, (VALUES (true), (false)) x(h);
			SELECT count(*), bool_or((fields->>'hist')::boolean) FROM tele_once`, "3|f"},
	} {
		if got := p.SQL(t, c.sql); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}
