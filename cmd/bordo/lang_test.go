package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"bordo/agent"
	"bordo/agent/api"
	"bordo/agent/archive"
	"bordo/agent/control"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/line"
)

// An error is told in the language that was asked for, through whatever it is wrapped in, and stays what it is.
func TestErrorsInBothLanguages(t *testing.T) {
	cause := &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}
	err := errors.Join(mistake{Err: permitted(cause, socketOwner())},
		phrase("%v: see %s").fault(control.ErrNotRunning, "x"))
	it := "open x: permission denied\nchiedere come root, o come membro del gruppo a cui appartiene il socket\nl'agente non è in funzione: vedere x"
	en := "open x: permission denied\nask as root, or as a member of the group that owns the socket\nthe agent does not run: see x"
	if got := sentence(err, italian()); got != it {
		t.Errorf("got %q", got)
	}
	if got := sentence(err, english()); got != en || err.Error() != en {
		t.Errorf("got %q and %q", got, err)
	}
	both := fmt.Errorf("connect: %w (%w)", control.ErrNotRunning, cause)
	if got := sentence(both, italian()); got != both.Error() {
		t.Errorf("got %q", got)
	}
	if !errors.Is(err, fs.ErrPermission) || !errors.Is(err, control.ErrNotRunning) || !errors.As(err, new(mistake)) {
		t.Error("the causes are lost")
	}
}

// Mistakes of whoever types are told in Italian, with what to do.
func TestMistakesInItalian(t *testing.T) {
	_, path := write(t, sound)
	for line, want := range map[string]string{
		"chekc --lang it":               "bordo: comando sconosciuto \"chekc\" (forse check?): vedere bordo help\n",
		"read --lang=it metre-1":        "bordo: nessun dispositivo \"metre-1\" in " + path + " (forse meter-1?)\n",
		"status -lang it":               "bordo: l'agente non è in funzione: nessuno risponde a ",
		"confirm --lang it":             "bordo: confirm: quale dispositivo? ",
		"check --lang it --confg x":     "bordo: check: opzione sconosciuta --confg (forse --config?): vedere bordo help check\n",
		"scan --lang it ttyUSB0":        "bordo: scan: dove? tcp HOST, o serial PERCORSO (c'è \"ttyUSB0\")",
		"buffer list --lang it --seq x": "bordo: --seq: deve essere un numero",
		"buffer stat --lang it":         "bordo: non c'è nessun archivio in ",
		"status --lang it --config /n":  "bordo: non c'è la configurazione /n (",
	} {
		args := strings.Fields(line)
		if !strings.Contains(line, "--conf") && args[0] != "chekc" {
			args = append(args, "--config", path)
		}
		if out, errs, code := invoke(t, args...); code == 0 || out != "" || !strings.HasPrefix(errs, want) {
			t.Errorf("%s: exit code %d, %q and %q, want %q", line, code, out, errs, want)
		}
	}
	if _, errs, code := invoke(t, "check", "--lang", "it", "--config",
		strings.TrimSuffix(path, ".yaml")+".none"); code != 2 ||
		!strings.HasSuffix(errs, "\nindicarla con --config FILE\n") {
		t.Errorf("exit code %d, %q", code, errs)
	}
	if out, _, code := invoke(t, "help", "scan", "--lang", "it"); code != 0 ||
		!strings.HasPrefix(out, "uso: bordo scan ") || !strings.Contains(out, "Cerca dispositivi Modbus") {
		t.Errorf("exit code %d, %q", code, out)
	}
}

// The store is told in both languages, and on a phone.
func TestStoreTables(t *testing.T) {
	to, day := uint64(9), int64(131072)
	at := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC).UnixMilli()
	st := storeStat{Dir: "/var/lib/bordo/buffer", Running: true, Day: &day,
		Limits: &storeLimits{MaxSize: 512 << 20, History: 64 << 20, EnergyHistory: 32 << 20},
		Stat: archive.Stat{Bytes: 17 << 20, Memory: 3,
			Classes: []archive.ClassStat{{Class: "event", Records: 4, Bytes: 825, From: at, To: at},
				{Class: "reading", Records: 1963, Bytes: 28467, Waiting: 12, Damaged: 1}},
			Backlog: []contract.Backlog{{Ep: "k3f9x2q7", First: 5, Last: 16, N: 12}},
			Gaps: []archive.GapStat{{Epoch: "k3f9x2q7", Class: "reading", From: 5, To: &to, Count: 5,
				Why: "disk_full"}, {Class: "any", From: 1, Why: "unclean"}}}}
	for _, x := range []struct {
		name  string
		lang  *langValue
		width int
	}{{"store-en.txt", english(), 0}, {"store-it.txt", italian(), 0}, {"store-phone.txt", italian(), 40}} {
		table := &table{lang: x.lang, width: x.width}
		table.statHead(st)
		table.statTables(st, time.UTC)
		asExpected(t, x.name, table.String())
	}
}

// What does not fit beside each other on a phone is the key of a point; its name and value stay.
func TestValueRows(t *testing.T) {
	rows := [][4]string{{"ac_power", "37450", "W", "Potenza AC"},
		{"dc1_voltage", "599.8", "V", "Tensione stringa 1 (incerto)"}}
	wide := [4]int{11, 5, 1, 28}
	if got, want := valueRows(rows, wide, 40, true),
		"Potenza AC                    37450 W\nTensione stringa 1 (incerto)  599.8 V\n"; got != want {
		t.Errorf("got\n%s", got)
	}
	if got, want := valueRows(rows, wide, 0, false),
		"ac_power     37450 W      Potenza AC\ndc1_voltage  599.8 V      Tensione stringa 1 (incerto)\n"; got != want {
		t.Errorf("got\n%s", got)
	}
	for code, r := range map[string]api.Reading{
		contract.DeviceSilent:  {},
		contract.DeviceBusy:    {Later: true},
		contract.DevicePartial: {Later: true, Values: []agent.PointStatus{{Point: "ac_power"}}},
	} {
		r.Error = "read input 0: no answer"
		c, _ := contract.ConditionOf(code)
		if got := sentence(readingFault(r), italian()); got != c.Text.It+"\nread input 0: no answer" {
			t.Errorf("%s: got %q", code, got)
		}
	}
	lost := unopened(line.Endpoint{Scheme: line.TCP},
		&drivers.Error{Op: "open tcp://h", Kind: drivers.Closed, Lost: true, Err: errors.New("no route")})
	if got := sentence(lost, italian()); !strings.HasPrefix(got, "La porta verso il dispositivo non si apre: ") {
		t.Errorf("got %q", got)
	}
}
