package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bordo/agent/archive"
	"bordo/agent/energy"
	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
)

// stopped is the configuration of a site whose agent does not run, and its store, which fill fills.
func stopped(t *testing.T, fill func(s *buffer.Store)) (config, dir string) {
	t.Helper()
	base := t.TempDir()
	dir = filepath.Join(base, "buffer")
	config = filepath.Join(base, "bordo.yaml")
	text := fmt.Sprintf(`version: 1
tenant: cremasco
node: quintano
mqtt: {url: mqtts://broker.example}
control: {socket: %s/b.sock}
buffer: {dir: %s}
lines:
  - id: rs485-a
    port: serial:///dev/ttyTEST?baud=9600
    devices:
      - {id: meter-1, model: eastron-sdm630, unit: 3, about: {pod: IT001E12345678, role: exchange}}
      - {id: meter-2, model: eastron-sdm630, unit: 4, personal: true}
`, base, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := buffer.Open(dir, buffer.Options{Codec: record.NewCodec()})
	if err != nil {
		t.Fatal(err)
	}
	fill(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return config, dir
}

// book puts a quarter of an hour into a store.
func book(t *testing.T, s *buffer.Store, dev string, i energy.Interval) {
	t.Helper()
	data, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	end := i.Start + 15*60*1000
	row := record.AppendEvent(nil, &record.Event{Dev: dev, Type: contract.EnergyInterval, TS: end,
		Clk: contract.ClockSync, Data: data})
	if _, err := s.Append(buffer.Interval, i.Start, end, row); err != nil {
		t.Fatal(err)
	}
}

// say runs a command line and returns what it printed and its exit code.
func say(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), args, console{&o, &e})
	return o.String(), e.String(), code
}

// The month of a counter has all its quarters in the site's time, whatever was booked: 2,972 in March 2026 in Rome, where an
// hour is left out, and 2,980 in October, where one comes twice.
func TestQuartersOfAMonth(t *testing.T) {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	for _, month := range []struct {
		name     string
		begin    time.Time
		quarters int
		day      string // whose rows are compared with testdata
		rows     int
	}{
		{"2026-03", time.Date(2026, 3, 1, 0, 0, 0, 0, rome), 2972, "2026-03-29", 92},
		{"2026-10", time.Date(2026, 10, 1, 0, 0, 0, 0, rome), 2980, "2026-10-25", 100},
		{"2026-02", time.Date(2026, 2, 1, 0, 0, 0, 0, rome), 2688, "2026-02-28", 96},
	} {
		t.Run(month.name, func(t *testing.T) {
			config, _ := stopped(t, func(s *buffer.Store) {
				counter, end := 1000.0, month.begin.AddDate(0, 1, 0)
				for at, n := month.begin.Add(-15*time.Minute), 0; !at.After(end); at, n = at.Add(15*time.Minute), n+1 {
					from, to := counter, counter+0.25
					counter = to
					if n%7 == 3 {
						continue // nothing is known
					}
					i := energy.Interval{Start: at.UnixMilli(), Point: "import_energy", KWh: 0.25, From: &from, To: &to,
						Meter:   "22041234",
						Segment: 3, Coverage: 1, Samples: 180, Method: energy.MethodCounter, Clk: contract.ClockSync,
						Rev: 1, POD: "IT001E12345678", Role: "exchange"}
					if n%11 == 5 { // corrected late; the correction may be stored first
						late := i
						late.Rev, late.KWh, late.To, late.Coverage, late.Method = 2, 0.5, nil, 0.75, energy.MethodMixed
						book(t, s, "meter-1", late)
					}
					book(t, s, "meter-1", i)
				}
			})
			out, errs, code := say(t, "buffer", "export", "--config", config, "--class", "interval", "--month",
				month.name, "--csv", "--lang", "en")
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, errs)
			}
			rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			day := []string{strings.Join(rows[0], ",")}
			byPoint := map[string]int{}
			at := map[string]time.Time{}
			for _, r := range rows[1:] {
				point := r[0] + " " + r[1]
				byPoint[point]++
				want := month.begin
				if last, seen := at[point]; seen {
					want = last.Add(15 * time.Minute)
				}
				utc, err1 := time.Parse(time.RFC3339, r[2])
				local, err2 := time.Parse(time.RFC3339, r[3])
				if err1 != nil || err2 != nil || !utc.Equal(want) || !local.Equal(want) {
					t.Fatalf("%s: after %v comes %v", point, at[point], r)
				}
				at[point] = utc
				if point == "meter-1 import_energy" && strings.HasPrefix(r[3], month.day) {
					day = append(day, strings.Join(r, ","))
				}
			}
			// The meter's other counter is accounted too, so its month is there and empty; a personal meter is not.
			if byPoint["meter-1 import_energy"] != month.quarters ||
				byPoint["meter-1 export_energy"] != month.quarters || len(byPoint) != 2 {
				t.Errorf("rows by counter: %v, want %d", byPoint, month.quarters)
			}
			if len(day) != 1+month.rows {
				t.Errorf("%d quarters on %s, want %d", len(day)-1, month.day, month.rows)
			}
			file := filepath.Join("testdata", "quarters-"+month.day+".csv")
			got := strings.Join(day, "\n") + "\n"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || string(want) != got {
				t.Errorf("%s: %v\n--- got\n%s--- want\n%s", file, err, got, want)
			}
		})
	}
}

func TestBufferMisuse(t *testing.T) {
	config, dir := stopped(t, func(*buffer.Store) {})
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", 2, "say what to do: stat, list, export, verify"},
		{"stats", 2, `there is no "stats" (did you mean stat?)`},
		{"stat --class event", 2, "buffer stat takes no --class"},
		{"verify --limit 3", 2, "buffer verify takes no --limit"},
		{"export --csv", 2, "--csv needs --class interval and --month"},
		{"export --csv --class interval --month 2026-03 --epoch aaaaaaaa", 2, "--csv takes whole months"},
		{"list --class card", 2, "card is personal data, which is never shown"},
		{"export --class event,gossip", 2, `must be event, interval or reading (got "gossip")`},
		{"list --from yesterday", 2, `--from: must be a time such as 2026-03-01`},
		{"list --from 2026-03-02 --to 2026-03-01", 2, "--from is later than --to"},
		{"list --month 2026-13", 2, "must be a month such as 2026-03"},
		{"list --month 2026-03 --to 2026-04-01", 2, "--month stands for --from and --to"},
		{"list --epoch Nope", 2, "must be 8 letters and digits"},
		{"list --seq 4", 2, "--seq needs --epoch"},
		{"list --seq 9-3 --epoch aaaaaaaa", 2, "must rise"},
		{"list --seq x --epoch aaaaaaaa", 2, "must be a number or a range"},
		{"list --limit 0", 2, "--limit must be 1 to 100000 (got 0)"},
		{"stat a b", 2, `buffer takes no "b"`},
		{"stat " + filepath.Dir(dir), 1, "there is no store in "},
	} {
		out, errs, code := say(t, append([]string{"buffer", "--config", config}, strings.Fields(c.args)...)...)
		if code != c.code || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("buffer %s: exit code %d, %q %q; want %d, %q", c.args, code, out, errs, c.code, c.want)
		}
	}
}

// Times are the site's; a day and a minute count to their ends.
func TestMoments(t *testing.T) {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	o := bufferOptions{from: "2026-03-29", to: "2026-03-29"}
	q, err := o.query(rome)
	if err != nil || q.To-q.From != 23*3600_000-1 ||
		q.From != time.Date(2026, 3, 28, 23, 0, 0, 0, time.UTC).UnixMilli() {
		t.Errorf("a day of 23 hours: %+v, %v", q, err)
	}
	for text, want := range map[string][2]string{
		"2026-07-01T10:30":          {"2026-07-01T08:30:00.000Z", "2026-07-01T08:30:59.999Z"},
		"2026-07-01 10:30:05":       {"2026-07-01T08:30:05.000Z", "2026-07-01T08:30:05.999Z"},
		"2026-07-01T10:30:00Z":      {"2026-07-01T10:30:00.000Z", "2026-07-01T10:30:00.000Z"},
		"2026-07-01T10:30:00+09:00": {"2026-07-01T01:30:00.000Z", "2026-07-01T01:30:00.000Z"},
	} {
		for i, end := range []bool{false, true} {
			ms, err := moment("at", text, rome, 0, end)
			if got := time.UnixMilli(ms).UTC().Format(contract.TimeLayout); err != nil || got != want[i] {
				t.Errorf("%s: %s, %v, want %s", text, got, err, want[i])
			}
		}
	}
}

// What is damaged is named, with what to do; the exit code says it too, and nothing is touched.
func TestVerifyDamagedStore(t *testing.T) {
	config, dir := stopped(t, func(s *buffer.Store) {
		for i := range int64(50) {
			book(t, s, "meter-1", energy.Interval{Start: 1772362800000 + i*900_000, Point: "import_energy"})
		}
	})
	out, errs, code := say(t, "buffer", "verify", "--config", config, "--lang", "it")
	// the sealer may take them in parts
	sound := regexp.MustCompile(`^` + regexp.QuoteMeta(dir) + `: integro: letti 1 file, [1-9]\d* blocc(o|hi), 50 record, `)
	if code != 0 || !sound.MatchString(out) || errs != "" {
		t.Fatalf("exit code %d, %q %q, want %s", code, out, errs, sound)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "db", "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("tables %v, %v", tables, err)
	}
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		spoil func() []byte
		want  string
	}{
		{"a flipped byte in a block", func() []byte { x := bytes.Clone(b); x[100] ^= 1; return x }, "checksum"},
		{"a file that was cut", func() []byte { return b[:len(b)/2] }, "- table 1: "},
	} {
		if err := os.WriteFile(tables[0], c.spoil(), 0o640); err != nil {
			t.Fatal(err)
		}
		out, errs, code := say(t, "buffer", "verify", "--config", config, "--lang", "en")
		if code != 1 || !strings.Contains(out, c.want) ||
			!strings.Contains(out, "Start the agent (systemctl start bordo)") ||
			errs != "bordo: the store in "+dir+" is damaged\n" {
			t.Errorf("%s: exit code %d\n%s%s", c.name, code, out, errs)
		}
		var r struct {
			Good   bool
			Faults []string
		}
		out, _, code = say(t, "buffer", "verify", "--config", config, "--json")
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != 1 || r.Good || len(r.Faults) == 0 {
			t.Errorf("%s: as JSON: exit code %d, %v, %s", c.name, code, err, out)
		}
	}
	if _, errs, code := say(t, "buffer", "stat", "--config", config); code != 1 ||
		!strings.Contains(errs, "starting the agent repairs them: table 1: ") {
		t.Errorf("stat of a damaged store: exit code %d, %s", code, errs)
	}
}

// Without a configuration a copied store can be read all the same.
func TestBufferOfADirectoryAlone(t *testing.T) {
	_, dir := stopped(t, func(s *buffer.Store) {
		book(t, s, "meter-1", energy.Interval{Start: 1772362800000, Point: "import_energy"})
	})
	if _, err := os.Stat(defaultConfig); err == nil {
		t.Fatalf("this machine has a %s: the test is about one that has none", defaultConfig)
	}
	out, errs, code := say(t, "buffer", "export", dir)
	e, err := contract.DecodeEvent([]byte(strings.TrimSpace(out)))
	if code != 0 || err != nil || e.Node != "unknown" || e.Dev != "meter-1" || errs != "1 record\n" {
		t.Errorf("exit code %d, %v, %q %q", code, err, out, errs)
	}
	out, _, code = say(t, "buffer", "list", dir, "--json")
	var list struct{ Records []archive.Entry }
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Records) != 1 ||
		list.Records[0].Dev != "meter-1" {
		t.Errorf("exit code %d, %v, %s", code, err, out)
	}
	if out, _, code := say(t, "buffer", "stat", dir); code != 0 || !strings.Contains(out, "\ninterval  1 ") ||
		strings.Contains(out, "keeps") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if _, errs, code := say(t, "buffer", "stat"); code == 0 ||
		!strings.Contains(errs, "name it with --config FILE\nor give the store's directory") {
		t.Errorf("neither: exit code %d, %s", code, errs)
	}
}
