package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"bordo/agent/config"
	"bordo/drivers/all"
	"bordo/drivers/scan"
)

// What a scan proposes, pasted into a configuration, is a correct one.
func TestScanProposesAConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.cfg = nil
		c, out, said := printed()
		j, err := newJob([]string{"serial", "/dev/ttyTEST"}, "1-4")
		if err != nil {
			t.Fatal(err)
		}
		if err := runScan(t.Context(), c, b.client, j, italian(), false); err != nil {
			t.Errorf("%v, said %s", err, said)
		}
		want := `lines:
  - id: rs485-1
    port: serial:///dev/ttyTEST?baud=9600&parity=none&bits=8&stop=1
    devices:
      # probably Eastron SDM630 Modbus, serial 22041234
      - {id: meter-1, model: eastron-sdm630, unit: 3}
`
		if out.String() != want {
			t.Errorf("proposed\n%s\nwant\n%s", out, want)
		}
		if want := "+ 9600 8N1, numero 3: probabilmente Eastron SDM630 Modbus, matricola 22041234\n"; !strings.Contains(said.String(), want) {
			t.Errorf("no %q in\n%s", want, said)
		}
		head, _, _ := strings.Cut(plant, "lines:")
		cfg, err := config.Parse("x", []byte(head+out.String()), all.List())
		if err != nil || len(cfg.Warnings) > 0 || len(cfg.Lines) != 1 || cfg.Lines[0].Devices[0].Unit != 3 {
			t.Errorf("the proposal is no configuration: %v %v", err, cfg)
		}
	})
}

// What is configured already is recognised, and not proposed again.
func TestScanKnowsWhatIsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		delete(b.units, "tcp 192.168.1.40:1502")
		c, out, said := printed()
		j, err := newJob([]string{"tcp", "192.168.1.40:502"}, "1,2")
		if err != nil {
			t.Fatal(err)
		}
		if err := runScan(t.Context(), c, b.client, j, english(), false); err != nil || out.String() != "" {
			t.Errorf("%v, proposed\n%s", err, out)
		}
		if want := "serial SN000123 = inv-1, configured already\n"; !strings.Contains(said.String(), want) {
			t.Errorf("no %q in\n%s", want, said)
		}
		c, out, _ = printed()
		if err := runScan(t.Context(), c, b.client, j, english(), true); err != nil {
			t.Error(err)
		}
		var kinds []string
		for l := range strings.Lines(out.String()) {
			var e scan.Event
			if err := json.Unmarshal([]byte(l), &e); err != nil {
				t.Fatalf("%v in %q", err, l)
			}
			if e.Found != nil {
				kinds = append(kinds, e.Found.Device+" "+e.Found.Serial)
			}
		}
		if !slices.Equal(kinds, []string{"inv-1 SN000123"}) {
			t.Errorf("told as JSON: %q", kinds)
		}
	})
}

func TestScanThatIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.cfg = nil
		c, out, _ := printed()
		j, err := newJob([]string{"serial", "/dev/ttyTEST"}, "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err = runScan(ctx, c, b.client, j, english(), false)
		if err == nil || err.Error() != "stopped: the rest was not looked for" ||
			!strings.Contains(out.String(), "model: eastron-sdm630") {
			t.Errorf("%v, proposed\n%s", err, out)
		}
		j.path = "/dev/ttyNONE"
		c, out, said := printed()
		err = runScan(t.Context(), c, b.client, j, italian(), false)
		if err == nil || sentence(err, italian()) != "nessun dispositivo trovato" || out.String() != "" ||
			!strings.Contains(said.String(), "! La porta non si può usare.\n  (/dev/ttyNONE: la porta non c'è: ") {
			t.Errorf("%v, said\n%s", err, said)
		}
	})
}

// Every sentence for who stands before the device is there in both languages and fits a narrow screen.
func TestTroubles(t *testing.T) {
	for _, cause := range []scan.Cause{scan.NoPort, scan.OtherMaster, scan.Garbage, scan.OnlyEcho, scan.Silence,
		scan.Refused,
		scan.Unreachable, scan.NotModbus, scan.NobodyThere} {
		it := troubleText(&scan.Trouble{Cause: cause, Port: "tcp://h:502", Detail: "why"}, italian())
		en := troubleText(&scan.Trouble{Cause: cause, Port: "tcp://h:502", Detail: "why"}, english())
		if it == en || !strings.HasSuffix(it, "\n  (h:502: why)") || !strings.HasSuffix(en, "\n  (h:502: why)") {
			t.Errorf("%s: %q and %q", cause, it, en)
		}
		for l := range strings.Lines(it + "\n" + en) {
			if utf8.RuneCountInString(l) > 80 {
				t.Errorf("%s: %d characters in %q", cause, utf8.RuneCountInString(l), l)
			}
		}
	}
}

func TestBarFitsTheTerminal(t *testing.T) {
	for _, width := range []int{20, 40, 80, 200} {
		b := bar{lang: italian(), width: width}
		for done := range 300 {
			text := b.text(&scan.Progress{Done: done, Total: 250,
				At: "serial:///dev/bordo/usb-1-2?baud=115200&parity=none", Unit: done}, time.Duration(done)*time.Second)
			if n := utf8.RuneCountInString(text); n >= width {
				t.Errorf("%d characters on %d columns: %q", n, width, text)
			}
		}
		if got, want := b.text(&scan.Progress{Done: 125, Total: 250, At: "tcp://h:502"}, time.Minute),
			"[##########..........]  50 %  h:502, al massimo circa 60 s"; width == 80 && got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestScanJobs(t *testing.T) {
	for line, want := range map[string]string{
		"tcp 192.168.1.40":              "",
		"tcp 192.168.1.0/24":            "",
		"serial /dev/ttyUSB0":           "",
		"serial serial:///dev/ttyUSB0":  "",
		"":                              "where? tcp HOST[:PORT], tcp NETWORK, or serial PATH",
		"tcp":                           "where? tcp HOST[:PORT], tcp NETWORK, or serial PATH",
		"/dev/ttyUSB0":                  "did you mean scan serial /dev/ttyUSB0?",
		"192.168.1.40":                  "did you mean scan tcp 192.168.1.40?",
		"all":                           `tcp HOST, or serial PATH (got "all")`,
		"tcp 10.0.0.0/8":                "at most 256 addresses",
		"serial ttyUSB0":                "must be the full path of a port",
		"serial /dev/ttyUSB0 0-3":       "must be 1 to 247 on a serial line",
		"tcp h 3-":                      "--units: must be numbers from 0 to 255",
		"serial /dev/ttyUSB0 1,2,3-247": "",
	} {
		f := strings.Fields(line)
		_, err := newJob(f[:min(len(f), 2)], strings.Join(f[min(len(f), 2):], ""))
		if want == "" && err != nil || want != "" &&
			(err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, new(mistake))) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}
