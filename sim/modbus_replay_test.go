package sim

import (
	"math"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers/catalogue"
	"bordo/drivers/modbus/golden"
)

// A file of the golden form, played back, gives the real driver the readings that stand in it.
func TestReplayGivesTheReadingsOfTheFile(t *testing.T) {
	const path = "../drivers/modbus/testdata/came-gard-ptx"
	files, err := filepath.Glob(path + "/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	played := 0
	for _, file := range files {
		f, err := readCapture(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Readings) == 0 {
			continue
		}
		played++
		synctest.Test(t, func(t *testing.T) {
			s, err := FromCapture(file, "came-gard-ptx")
			if err != nil {
				t.Fatal(err)
			}
			_, a := live(t, s, 1, time.Minute, nil)
			for _, want := range f.Readings {
				values, _ := a.good("device", want.Name)
				if len(values) == 0 && want.Text != "-" {
					t.Errorf("%s: %s was never read, want %s", file, want.Name, want.Text)
				}
				for _, v := range values {
					if !reads(v, want.Text) {
						t.Fatalf("%s: %s is %s, want %s", file, want.Name, v, want.Text)
					}
				}
			}
		})
	}
	if played == 0 {
		t.Error("no file has readings")
	}
}

// reads tells whether a value is what stands in a file.
func reads(v catalogue.Value, text string) bool {
	if f, err := strconv.ParseFloat(text, 64); err == nil && v.Type() == catalogue.Float {
		return math.Abs(v.Float()-f) <= 1e-4*math.Max(1, math.Abs(f))
	}
	return v.String() == text || v.String() == "" && text == `""`
}

func TestReplayRefusesWhatWasNotSeen(t *testing.T) {
	f, err := golden.Parse("x", []byte("origin: synthesised\nsource: a test\n-- frames --\n> 01 04 00 00 00 02 71 CB\n< 01 04 04 43 66 33 34 1B 38\n-- readings --\nac_voltage_l1 230.2\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := newReplay(f)
	for _, c := range []struct{ name, ask, want string }{
		{"recorded", "\x04\x00\x00\x00\x02", "\x04\x04\x43\x66\x33\x34"},
		{"a part of it", "\x04\x00\x01\x00\x01", "\x04\x02\x33\x34"},
		{"beyond it", "\x04\x00\x00\x00\x03", "\x84\x02"},
		{"another table", "\x03\x00\x00\x00\x01", "\x83\x02"},
		{"a write", "\x06\x00\x00\x00\x01", "\x86\x01"},
	} {
		if got := string(r.Answer([]byte(c.ask))); got != c.want {
			t.Errorf("%s: % x, want % x", c.name, got, c.want)
		}
	}
}
