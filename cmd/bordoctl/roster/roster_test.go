package roster

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"bordo/contract"
	"bordo/contract/consumer"
)

// rig is a roster whose clock moves when told.
type rig struct {
	t   *testing.T
	r   *Roster
	now time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r, err := New("")
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, r, time.UnixMilli(1760000005123)}
}

func (r *rig) take(node, topic, payload string, retained bool) []Change {
	return r.r.Take(consumer.Message{Topic: "bordo/v1/cremasco/" + node + "/" + topic, Payload: []byte(payload),
		Retained: retained}, r.now)
}

// golden is a message of the contract's test data.
func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../contract/testdata/v1", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func words(changes []Change) (out []string) {
	for _, c := range changes {
		out = append(out, strings.SplitN(c.Line("en"), " ", 2)[1]) // without the time
	}
	return out
}

func sample(seq uint64, at time.Time, hist bool) string {
	return fmt.Sprintf(`{"sv":1,"node":"quintano","dev":"inv-1","ep":"k3f9x2q7","hist":%v,"clk":"sync","sent":%d,"samples":[{"seq":%d,"ts":%d,"v":{"ac_power":1234.5,"state":"producing"}}]}`,
		hist, at.UnixMilli(), seq, at.UnixMilli())
}

func online(sess string, next uint64, backlog string) string {
	return fmt.Sprintf(`{"sv":1,"node":"quintano","state":"online","sess":"%s","boot":"b","ep":"k3f9x2q7","next":%d,"backlog":[%s],"clk":"sync","ver":"1.4.0","ts":1760000005000,"health":[]}`, sess, next, backlog)
}

// TestChanges: each thing that changes is told once, in words.
func TestChanges(t *testing.T) {
	r := newRig(t)
	check := func(what string, got []Change, want ...string) {
		t.Helper()
		if !slices.Equal(words(got), want) {
			t.Errorf("%s:\n got %q\nwant %q", what, words(got), want)
		}
	}
	silent := "The device does not answer (read input 0x0000+2: timeout)"
	check("the first status", r.take("quintano", "status", golden(t, "status-online"), true),
		"quintano is online, bordo 1.4.0, clock sync, backlog 102, conditions 1, simulated",
		"quintano meter-1 fault raised: "+silent)
	check("the same again", r.take("quintano", "status", golden(t, "status-online"), false))
	check("a device", r.take("quintano", "meta/inv-1", golden(t, "meta-inverter"), true),
		"quintano inv-1 is Fronius Symo 10.0-3-M, 4 points, every 10s")
	check("the same again", r.take("quintano", "meta/inv-1", golden(t, "meta-inverter"), true))
	check("a gap", r.take("quintano", "event/node", golden(t, "event-store-gap"), false),
		"quintano told a gap: epoch k3f8a0zz, numbers 9001 to 9400, 399 records, reading, evicted")
	check("the will of another session",
		r.take("quintano", "status", string(contract.Will("quintano", "00000000")), false))
	check("all is well", r.take("quintano", "status", online("a81f20c9", 10240, ""), false),
		"quintano is online, bordo 1.4.0, clock sync, backlog 0", "quintano meter-1 fault cleared: "+silent)
	check("its own will", r.take("quintano", "status", string(contract.Will("quintano", "a81f20c9")), false),
		"quintano is lost, bordo 1.4.0, clock sync, backlog 0")
	check("a device that goes", r.take("quintano", "meta/inv-1", "", false), "quintano inv-1 was removed")
	check("nonsense", r.take("quintano", "status", "{", false),
		"not understood: bordo/v1/cremasco/quintano/status (handle message on bordo/v1/cremasco/quintano/status: decode status: unexpected end of JSON input)")
	check("a name that moves the cursor",
		r.take("quintano", "meta/x", `{"sv":1,"node":"quintano","dev":"x","rev":1,"model":"a\u001b[2Jb","points":{}}`,
			false),
		"quintano x is  a?[2Jb, 0 points, every 0s")
	if r.r.Nodes()[0].Gaps != 1 {
		t.Errorf("%d gaps", r.r.Nodes()[0].Gaps)
	}
}

// TestSilentAndMissing: what nobody tells is found by the time alone.
func TestSilentAndMissing(t *testing.T) {
	r := newRig(t)
	r.take("quintano", "status", online("s1", 10, ""), false)
	r.take("quintano", "tele/inv-1", sample(11, r.now, false), false)
	r.take("quintano", "status", online("s1", 12, ""), false)
	r.r.Tick(r.now)
	r.now = r.now.Add(missingAfter)
	if got := words(r.r.Tick(r.now)); !slices.Equal(got,
		[]string{"quintano is online, bordo 1.4.0, clock sync, backlog 0, missing 1"}) {
		t.Errorf("missing: %q", got)
	}
	r.now = r.now.Add(silentAfter)
	if got := words(r.r.Tick(r.now)); len(got) != 1 || !strings.HasPrefix(got[0], "quintano is silent") {
		t.Errorf("silent: %q", got)
	}
	r.take("quintano", "hist/inv-1", sample(10, r.now, true), false)
	if got := words(r.r.Tick(r.now)); !slices.Equal(got,
		[]string{"quintano is online, bordo 1.4.0, clock sync, backlog 0"}) {
		t.Errorf("back: %q", got)
	}
	if got := r.r.Tick(r.now); got != nil {
		t.Errorf("told again: %q", words(got))
	}
	r.take("quintano", "hist/inv-1", strings.Replace(sample(10, r.now, true), "1234.5", "9", 1), false)
	if r.r.Nodes()[0].Conflicts != 1 {
		t.Error("one identity with two contents is not noticed")
	}
}

// TestJSON: the keys that are promised are there.
func TestJSON(t *testing.T) {
	r := newRig(t)
	changes := r.take("quintano", "status", golden(t, "status-online"), true)
	changes = append(changes, r.take("quintano", "event/node", golden(t, "event-store-gap-open"), false)...)
	want := []string{
		`{"at":1760000005123,"what":"node","tenant":"cremasco","node":"quintano","state":"online","sess":"a81f20c9","since":1760000005123,"ver":"1.4.0","hw":"100000004f3a2b1c",` +
			`"cfg":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","clk":"sync","sim":true,"backlog":102,"told":1760000005123,"lost":400,"rate":0,"lag_p50":0,"lag_p99":0,` +
			`"conditions":1,"gaps":0,"missing":0,"conflicts":0}`,
		`{"at":1760000005123,"what":"condition","tenant":"cremasco","node":"quintano","dev":"meter-1","state":"raised","detail":"read input 0x0000+2: timeout",` +
			`"condition":{"code":"device_silent","severity":"fault","since":1760000000250,"text":{"it":"Il dispositivo non risponde","en":"The device does not answer"}}}`,
		`{"at":1760000005123,"what":"gap","tenant":"cremasco","node":"quintano","gap":{"ep":"k3f8a0zz","from":9401,"to":null,"class":"any","why":"unclean"}}`,
	}
	if len(changes) != len(want) {
		t.Fatalf("%d changes", len(changes))
	}
	for i, c := range changes {
		if b, err := json.Marshal(c); err != nil || string(b) != want[i] {
			t.Errorf("got %s (%v)\nwant %s", b, err, want[i])
		}
	}
}

// fleet is a roster of 40 nodes of which some have trouble.
func fleet(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	for i := range 40 {
		name := fmt.Sprintf("ecopiazzola-of-some-place-%02d", i)
		r.take(name, "status", strings.ReplaceAll(online("s1", 10, `{"ep":"k3f9x2q7","first":1,"last":9,"n":9}`),
			"quintano", name), true)
	}
	r.take("quintano", "status", golden(t, "status-online"), true)
	r.take("quintano", "meta/inv-1", golden(t, "meta-inverter"), true)
	r.take("quintano", "tele/inv-1", sample(10240, r.now.Add(-85*time.Millisecond), false), false)
	r.take("ecopiazzola-of-some-place-07", "status", string(contract.Will("ecopiazzola-of-some-place-07", "s1")), false)
	r.now = r.now.Add(5 * time.Second)
	return r
}

// TestTable: the picture fits its screen, and trouble stands first.
func TestTable(t *testing.T) {
	r := fleet(t)
	for _, size := range [][2]int{{80, 23}, {120, 39}, {40, 9}, {20, 4}, {80, 1}, {200, 100}} {
		lines := r.r.Table(Picture{Width: size[0], Height: size[1], Link: "connected"}, r.now)
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		if size[0] < 80 || size[1] < 20 {
			continue
		}
		for i, l := range lines[:6] {
			if utf8.RuneCountInString(l) > size[0] {
				t.Errorf("%v: line %d has %d columns: %s", size, i, utf8.RuneCountInString(l), l)
			}
		}
		text := strings.Join(lines, "\n")
		for _, want := range []string{"41 nodes: 40 online, 1 lost; 1 device, ",
			"fault   quintano meter-1, 9s: The device does not answer (read input 0x0000+2: timeout)"} {
			if !strings.Contains(text, want) {
				t.Errorf("%v: no %q in\n%s", size, want, text)
			}
		}
		if !strings.Contains(lines[4], "lost") || !strings.HasPrefix(lines[5], "quintano") {
			t.Errorf("%v: trouble does not stand first:\n%s", size, text)
		}
		if hidden := size[1] < 45; hidden != strings.Contains(text, "more, all well") {
			t.Errorf("%v: what is hidden is not counted:\n%s", size, text)
		}
	}
	want := "quintano           online    >5s    5s   85ms   85ms    0.2       102 sync     0"
	if got := r.r.Table(Picture{Width: 80, Height: 23}, r.now)[5]; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := r.r.Table(Picture{Width: 80, Height: 23, Lang: "it"}, r.now); !strings.Contains(got[len(got)-1],
		"Il dispositivo non risponde") {
		t.Errorf("in Italian: %s", got[len(got)-1])
	}
}

// TestTableOfOneNode: with its sentences and its devices, on any screen.
func TestTableOfOneNode(t *testing.T) {
	r := fleet(t)
	r.now = time.UnixMilli(1790000000000).Add(-9 * 24 * time.Hour)
	text := strings.Join(r.r.Table(Picture{Width: 80, Height: 23, Node: "quintano"}, r.now), "\n")
	for _, want := range []string{
		"cremasco/quintano is online for at least ", "Ecopiazzola di Quintano,\n  simulated",
		"102 records held back in 2 epochs, as told", "400 lost in its life",
		"the certificate of quintano ends in 9 days, on 2026-09-21", "fault   meter-1, ", "Fronius Symo 10…",
		"state producing, ac_power 1234.5 W",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for width := 40; width < 140; width += 20 {
		for height := range 30 {
			lines := r.r.Table(Picture{Width: width, Height: height + 1, Node: "quintano"}, r.now)
			if len(lines) > height+1 {
				t.Errorf("%d lines on %d", len(lines), height+1)
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); strings.HasPrefix(line, "  ") && n > width {
					t.Errorf("%d columns on %d: %q", n, width, line)
				}
			}
		}
	}
	if text := strings.Join(r.r.Table(Picture{Width: 80, Height: 23, Node: "nobody"}, r.now),
		"\n"); !strings.Contains(text, "Nothing has been heard of nobody") {
		t.Error(text)
	}
}

// TestCSV: a row for each device, and for a node without any; nothing that a spreadsheet would execute.
func TestCSV(t *testing.T) {
	r := newRig(t)
	r.take("quintano", "status", golden(t, "status-online"), true)
	r.take("quintano", "meta/inv-1", golden(t, "meta-inverter"), true)
	r.take("quintano", "meta/x", `{"sv":1,"node":"quintano","dev":"x","rev":1,"model":"=cmd()","serial":"-1","points":{},"about":{"pod":"@x","ct":"200/5"}}`, true)
	r.take("ponte", "status", strings.ReplaceAll(online("s1", 10, ""), "quintano", "ponte"), true)
	var b strings.Builder
	if err := WriteCSV(&b, r.r.Nodes()); err != nil {
		t.Fatal(err)
	}
	want := "tenant,node,state,site,lat,lon,version,hardware,configuration,clock,simulated,tls_until,told,device,name,maker,model,profile,serial,firmware,points,every_s,pod,role,about,quarantined\n" +
		"cremasco,ponte,online,,,,1.4.0,,,sync,false,,2025-10-09T08:53:25Z,,,,,,,,,,,,,\n" +
		"cremasco,quintano,online,Ecopiazzola di Quintano,45.42,9.61,1.4.0,100000004f3a2b1c,9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08,sync,true,2026-09-21T14:13:20Z,2025-10-09T08:53:25Z," +
		"inv-1,Inverter tetto sud,Fronius,Symo 10.0-3-M,sunspec,29301000987650449,0.3.30.1,4,10,IT001E12345678,production,\"{\"\"pod\"\":\"\"IT001E12345678\"\",\"\"role\"\":\"\"production\"\"}\",temperature\n" +
		"cremasco,quintano,online,Ecopiazzola di Quintano,45.42,9.61,1.4.0,100000004f3a2b1c,9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08,sync,true,2026-09-21T14:13:20Z,2025-10-09T08:53:25Z," +
		"x,,,'=cmd(),,'-1,,0,,'@x,,\"{\"\"ct\"\":\"\"200/5\"\",\"\"pod\"\":\"\"@x\"\"}\",\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll(); err != nil || len(rows) != 4 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	text := Inventory(r.r.Nodes(), r.now)
	for _, want := range []string{"cremasco/ponte  online, told", "  inv-1  Fronius Symo 10.0-3-M  29301000987650449",
		"pod=IT001E12345678 role=production refuses temperature", "2 nodes, 2 devices\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestMeasures(t *testing.T) {
	var w Window
	if _, _, ok := w.Quantiles(); ok {
		t.Error("an empty window has a median")
	}
	for i := range 1000 {
		w.Add(time.Duration(i) * time.Millisecond)
	}
	if p50, p99, _ := w.Quantiles(); p50 != 872*time.Millisecond || p99 != 997*time.Millisecond { // of 744 to 999
		t.Errorf("of the last 256: %s, %s", p50, p99)
	}
	now := time.Unix(1760000000, 0)
	m := Meter{from: now}
	for i := range 120 {
		m.Add(now.Add(time.Duration(i) * 500 * time.Millisecond))
	}
	if got := m.PerSecond(now.Add(60 * time.Second)); got < 1.9 || got > 2 {
		t.Errorf("two a second: %g", got)
	}
	if got := m.PerSecond(now.Add(5 * time.Minute)); got != 0 {
		t.Errorf("long ago: %g", got)
	}
}
