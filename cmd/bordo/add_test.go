package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"bordo/agent/config"
	"bordo/drivers/all"
)

// scanInto scans the serial line of a bench and adds what it finds to a file with the given text.
func scanInto(t *testing.T, text string, yes bool, answer string) (file, out, said string, err error) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "bordo.yaml")
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if b.cfg, err = config.Load(file, all.List()); err != nil {
			t.Fatal(err)
		}
		j, errJob := newJob([]string{"serial", "/dev/ttyTEST"}, "1-4")
		if errJob != nil {
			t.Fatal(errJob)
		}
		j.add = &addition{file: file, yes: yes, ask: func(context.Context, string) (string, error) {
			if answer == "" {
				return "", errNoTerminal
			}
			return answer, nil
		}}
		c, o, s := printed()
		err = runScan(t.Context(), c, b.client, j, italian(), false)
		out, said = o.String(), s.String()
	})
	return file, out, said, err
}

func content(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is found is shown as a difference, written into the sample, and the file as it was stays beside it.
func TestScanAddsToTheSample(t *testing.T) {
	sample := content(t, "../../packaging/bordo.yaml")
	file, out, said, err := scanInto(t, sample, true, "")
	if err != nil {
		t.Fatal(err)
	}
	const added = `lines:
  - id: rs485-1
    port: serial:///dev/ttyTEST?baud=9600&parity=none&bits=8&stop=1
    devices:
      # probably Eastron SDM630 Modbus, serial 22041234
      - {id: meter-1, model: eastron-sdm630, unit: 3}
`
	if got := content(t, file); got != sample+"\n"+added {
		t.Errorf("the file is now\n%s", got)
	}
	if want := "+ " + strings.ReplaceAll(strings.TrimSuffix(added, "\n"), "\n", "\n+ "); !strings.Contains(out, want) ||
		strings.Contains(out, "\n- ") {
		t.Errorf("the difference is\n%s", out)
	}
	if content(t, file+".bak1") != sample {
		t.Error("the copy is not the file as it was")
	}
	for _, f := range []string{file, file + ".bak1"} {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
	for _, want := range []string{"systemctl restart bordo", "Prima ci sono ancora valori da sostituire:",
		"è solo un esempio"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 2 {
		t.Errorf("the directory holds %v (%v)", list, err)
	}

	// A second time there is nothing to add, and nothing is written.
	now := content(t, file)
	again, out, said, err := scanInto(t, now, true, "")
	if err != nil || out != "" || !strings.Contains(said, "niente da aggiungere") || content(t, again) != now {
		t.Errorf("%v, %q, said %s", err, out, said)
	}
}

// A line that has the port gets the device, with an id that is free; comments stay.
func TestScanAddsToALine(t *testing.T) {
	text := strings.Replace(plant, "devices: [{id: meter-1, model: eastron-sdm630, unit: 3}]",
		"devices:\n      - {id: meter-1, model: eastron-sdm630, unit: 9} # in the hall", 1)
	file, _, said, err := scanInto(t, text, false, "s")
	if err != nil {
		t.Fatalf("%v, %s", err, said)
	}
	if got, want := content(t, file), text+"      # probably Eastron SDM630 Modbus, serial 22041234\n      - {id: meter-2, model: eastron-sdm630, unit: 3}\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Without a yes nothing is written.
func TestScanAsksBeforeItWrites(t *testing.T) {
	for answer, want := range map[string]string{"": "ripetere con --yes", "n": "non è stato scritto nulla",
		"boh": "non è stato scritto nulla"} {
		file, out, _, err := scanInto(t, strings.Split(plant, "lines:")[0], false, answer)
		if err == nil || !strings.Contains(sentence(err, italian()), want) || !strings.Contains(out, "+     devices:") {
			t.Errorf("answered %q: %v\n%s", answer, err, out)
		}
		if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 1 ||
			content(t, file) != strings.Split(plant, "lines:")[0] {
			t.Errorf("answered %q: the directory holds %v (%v)", answer, list, err)
		}
	}
}

// A file that was changed while the question was on the screen is left as it is.
func TestReplaceFileThatChanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bordo.yaml")
	if err := os.WriteFile(file, []byte("newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := replaceFile(file, []byte("old"), []byte("new")); err == nil ||
		!strings.Contains(err.Error(), "changed meanwhile") {
		t.Errorf("%v", err)
	}
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 1 || content(t, file) != "newer" {
		t.Errorf("the directory holds %v (%v)", list, err)
	}
}

// The link of a file that is one stays, and so does what lies beside it.
func TestReplaceFileBehindALink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "bordo.yaml")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.yaml", link); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"1", "2"} {
		if _, err := replaceFile(link, []byte(content(t, link)), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if target, err := os.Readlink(link); err != nil || target != "real.yaml" || content(t, file) != "2" {
		t.Errorf("%q, %v", target, err)
	}
	if content(t, file+".bak1") != "old" || content(t, file+".bak2") != "1" {
		t.Error("the copies are not the files as they were")
	}
}
