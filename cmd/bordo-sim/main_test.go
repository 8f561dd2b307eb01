package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bordo/cmd/commandline"
	"bordo/contract"
)

// call runs a command line and returns what it printed.
func call(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = execute(t.Context(), args, commandline.Console{Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string // in what is printed
	}{
		{nil, 2, "a command is missing"},
		{[]string{"help"}, 0, "  serve       a simulated site"},
		{[]string{"version"}, 0, "bordo-sim unknown"},
		{[]string{"dance"}, 2, `unknown command "dance"`},
		{[]string{"sevre"}, 2, `did you mean serve?`},
		{[]string{"serve", "--help"}, 0, "usage: bordo-sim serve [SCENARIO] [flags]"},
		{[]string{"scenarios"}, 0, "demo"},
		{[]string{"scenarios", "x"}, 2, `scenarios takes no "x"`},
		{[]string{"serve"}, 2, "takes a scenario, or --from"},
		{[]string{"serve", "demo", "--from", "x"}, 2, "takes a scenario, or --from"},
		{[]string{"serve", "--from", "/nowhere.txtar"}, 2, "read capture"},
		{[]string{"serve", "a", "b"}, 2, `serve takes no "b"`},
		{[]string{"serve", "nowhere"}, 2, "not one of those built in"},
		{[]string{"serve", "demo", "--speed", "0"}, 2, "--speed must be more than 0"},
		{[]string{"serve", "demo", "--sped", "2"}, 2, "sped"},
		{[]string{"fleet"}, 2, "url must be"},
		{[]string{"fleet", "--url", "mqtt://127.0.0.1:1", "--nodes", "0"}, 2, "nodes must be 1"},
		{[]string{"fleet", "--url", "mqtt://127.0.0.1:1", "--password-file", "/nowhere"}, 2, "--password-file"},
		{[]string{"fleet", "--url", "mqtt://127.0.0.1:1", "--for", "-5s"}, 2, "--for must not be negative"},
		{[]string{"fleet", "--url", "mqtt://127.0.0.1:1", "--ramp-up", "-5s"}, 2,
			"no time and no rate may be negative"},
		{[]string{"fleet", "--url", "mqtt://127.0.0.1:1", "--history-rate", "NaN"}, 2,
			"no time and no rate may be negative"},
		{[]string{"fleet", "--url", "mqtt://127.0.0.1:1", "--storm-for", "30s"}, 2, "needs how often one comes"},
		{[]string{"do"}, 2, "which site?"},
		{[]string{"do", "--dir", "/nowhere", "heal"}, 1, "no site is served there"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "dance"}, 2, "unknown action"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "sun", "-30m"}, 1, "ask the site"},
		{[]string{"replay"}, 2, "replay takes the files"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "raise", "arm", "drop", "chance=often"}, 2,
			"chance must be a number"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "raise", "arm", "drop", "chance=NaN"}, 2,
			"chance must be more than 0 and at most 1"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "raise", "arm", "drop", "chance=0"}, 2,
			"chance must be more than 0 and at most 1"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "raise", "arm", "drop", "chance=0.1", "chance=0.2"}, 2,
			"chance is given twice"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "raise", "arm", "exception", "code=2.5"}, 2,
			"code must be a whole number"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "raise", "arm", "drop", "for=0s"}, 2,
			"for must be a duration of more than 0"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "raise", "arm", "drop", "device="}, 2, "device= names nothing"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "press", "barrier-1", "obstacle", "0s"}, 2,
			"press: FOR must be"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "press", "barrier-1", "nose"}, 2,
			"press obstacle, photocell, loop or key"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "cut", "mains", "-3s"}, 2, "cut: FOR must be"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "sun", "noon"}, 2, "sun takes a duration"},
		{[]string{"do", "--url", "http://127.0.0.1:1", "heal", "arm"}, 2, "heal with 1 arguments"},
		{[]string{"serve", "demo", "--speed", "NaN"}, 2, "--speed must be more than 0"},
		{[]string{"serve", "demo", "--model", "sunspec"}, 2, "--model goes with --from"},
		{[]string{"demo", "--bordo", "/nowhere/bordo"}, 2, "no such file"},
	} {
		code, out, errs := call(t, c.args...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%q: exit %d, printed %q; want %d and %q", c.args, code, out+errs, c.code, c.want)
		}
	}
}

// batch is a message as an agent sends it.
func batch(t *testing.T, dev string, hist bool, seq uint64, ts int64, fields ...contract.Field) []byte {
	t.Helper()
	w := contract.NewBatch(nil, contract.Envelope{Node: "demo", Dev: dev, Ep: "k3f9x2q7", Hist: hist,
		Clk: contract.ClockSync, Sent: ts})
	if ok, err := w.Add(seq, ts, fields); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return w.Bytes()
}

func number(key string, v float64) contract.Field {
	return contract.Field{Key: key, Kind: contract.KindNumber, Num: v, Quality: contract.QualityGood}
}

func TestViewTellsSamples(t *testing.T) {
	v := &view{devices: map[string]*deviceView{}}
	at := time.Date(2026, 6, 21, 12, 0, 0, 0, time.Local)
	got := v.takeBatch(batch(t, "inv-1", false, 1, at.UnixMilli(), number("ac_power", 1234.5),
		contract.Field{Key: "state", Kind: contract.KindText, Text: "producing", Quality: contract.QualityGood},
		contract.Field{Key: "temperature"}))
	want := "12:00:00.000 inv-1 state=producing ac_power=1234.5 W temperature=- Cel (bad)"
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
	late := v.takeBatch(batch(t, "inv-1", true, 2, at.Add(-time.Minute).UnixMilli(), number("ac_power", 7)))
	if !strings.Contains(late[0], "inv-1 (late) ac_power=7 W") {
		t.Errorf("late: %q", late)
	}
	if v.devices["inv-1"].fields["ac_power"].value != "1234.5" || v.samples != 2 || v.late != 1 {
		t.Error("a late sample was shown as current, or not counted")
	}
	if got := v.takeBatch([]byte("{")); len(got) != 1 || !strings.Contains(got[0], "decode batch") {
		t.Errorf("a broken message: %q", got)
	}
}

func TestTableFitsTheScreen(t *testing.T) {
	v := &view{devices: map[string]*deviceView{}, broker: "mqtt://127.0.0.1:1234", started: time.Now()}
	var fields []contract.Field
	for _, key := range []string{"ac_power", "frequency", "ac_voltage_l1", "ac_voltage_l2", "ac_voltage_l3",
		"ac_current", "ac_energy", "temperature", "dc_power", "power_factor"} {
		fields = append(fields, number(key, 1234.56789))
	}
	for _, dev := range []string{"inv-1", "inv-2", "meter-1", "meter-2"} {
		v.takeBatch(batch(t, dev, false, 1, time.Now().UnixMilli(), fields...))
	}
	for _, rows := range []int{12, 23, 60} {
		lines := v.table(time.Now(), 80, rows)
		if len(lines) > rows {
			t.Errorf("%d lines for %d rows", len(lines), rows)
		}
		all := strings.Join(lines, "\n")
		for _, want := range []string{"mosquitto_sub -h 127.0.0.1 -p 1234 -t '#' -v", "inv-1", "meter-2", "1234.57",
			"Ctrl-C"} {
			if !strings.Contains(all, want) {
				t.Errorf("%d rows: %q is missing in\n%s", rows, want, all)
			}
		}
	}
	phone := v.table(time.Now(), 40, 23)
	for _, line := range phone {
		if len([]rune(line)) > 40 {
			t.Errorf("wider than the screen: %q", line)
		}
	}
	if want := "inv-1     ac_power         1234.57 W"; !slices.Contains(phone, want) {
		t.Errorf("no %q in\n%s", want, strings.Join(phone, "\n"))
	}
}
