package modbus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// A register that the device does not fill is not an alarm, and does not hide the alarms of the others.
func TestFlagsInUnfilledRegisters(t *testing.T) {
	flags := []Flag{{0, "earth fault"}, {15, "fan"}, {16, "too hot"}}
	low := []Flag{{0, "earth fault"}, {15, "fan"}}
	for _, c := range []struct {
		name  string
		field Field
		words string // registers from 7 on, the highest first
		want  string
	}{
		{"no alarm", at7(Bits, 2, Field{Flags: flags, NAWords: true}), "0000 0000", ""},
		{"two alarms", at7(Bits, 2, Field{Flags: flags, NAWords: true}), "0001 8000", "fan, too hot"},
		{"neither register", at7(Bits, 2, Field{Flags: flags, NAWords: true}), "FFFF FFFF", "-"},
		{"only the low one", at7(Bits, 2, Field{Flags: flags, NAWords: true}), "FFFF 0001", "earth fault"},
		{"only the high one", at7(Bits, 2, Field{Flags: flags, NAWords: true}), "0001 FFFF", "too hot"},
		{"the remaining register has no flag", at7(Bits, 2, Field{Flags: low, NAWords: true}), "0000 FFFF", "-"},
		{"low word first", at7(Bits, 2, Field{Flags: flags, NAWords: true, Words: LowFirst}), "0001 FFFF",
			"earth fault"},
		{"one register", at7(Bits, 1, Field{Flags: low, NAWords: true}), "FFFF", "-"},
		{"four registers", at7(Bits, 4, Field{Flags: flags, NAWords: true}), "FFFF FFFF 0001 FFFF", "too hot"},
		{"none of four", at7(Bits, 4, Field{Flags: flags, NAWords: true}), "FFFF FFFF FFFF FFFF", "-"},
		{"as a number", at7(Bits, 2, Field{Format: "0x%08X", NAWords: true}), "FFFF 0001", "0xFFFF0001"},
		{"no number", at7(Bits, 2, Field{Format: "0x%08X", NAWords: true}), "FFFF FFFF", "-"},
		{"SunSpec, not implemented", at7(Bits, 2, Field{Flags: low, NAWords: true, NATop: true}), "FFFF FFFF", "-"},
		{"SunSpec, highest bit", at7(Bits, 2, Field{Flags: low, NAWords: true, NATop: true}), "8000 0001", "-"},
		{"SunSpec, every alarm at once", at7(Bits, 2, Field{Flags: low, NAWords: true, NATop: true}), "0000 FFFF", "-"},
		{"SunSpec, one alarm", at7(Bits, 2, Field{Flags: low, NAWords: true, NATop: true}), "0000 8000", "fan"},
		{"SunSpec, 16 bits", at7(Bits, 1, Field{Flags: low, NAWords: true, NATop: true}), "8001", "-"},
		{"SunSpec, 64 bits", at7(Bits, 4, Field{Flags: low, NAWords: true, NATop: true}), "8000 0000 0000 0001", "-"},
		{"every pattern is a value", at7(Bits, 1, Field{Flags: low}), "FFFF", "earth fault, fan"},
		{"a pattern", at7(Bits, 1, Field{Flags: low, NA: []uint64{0x7FFF}}), "7FFF", "-"},
	} {
		v, q := c.field.Decode(answer5("0000 0000 "+c.words), catalogue.Text)
		if v.String() != c.want || (q == drivers.Bad) != (c.want == "-") {
			t.Errorf("%s: %s decodes to %q (quality %d), want %q", c.name, c.words, v, q, c.want)
		}
	}
}

// No model returns a text or a truth value for registers of all ones: no device has every alarm at once, and
// 65535 is not a code.
func TestAllOnesIsNoText(t *testing.T) {
	for _, p := range Embedded() {
		for _, pt := range everyPoint(p) {
			if pt.At.Table.Bits() || pt.Is.Type == catalogue.Float || pt.Type == String || pt.Type == Date ||
				pt.Type == Dotted {
				continue
			}
			data := []byte(strings.Repeat("\xFF", 2*pt.Length))
			if v, q := pt.Decode(Answer{pt.valueSpan(), data}, pt.Is.Type); q != drivers.Bad {
				t.Errorf("%s: %s is %q", p.Model, pt.Key, v)
			}
		}
	}
}

// everyPoint returns the points of a profile and of its SunSpec models.
func everyPoint(p *Profile) []Point {
	all := append([]Point(nil), p.Points...)
	if p.SunSpec != nil {
		for _, m := range p.SunSpec.Models {
			all = append(all, m.Points...)
			if m.Repeat != nil {
				all = append(all, m.Repeat.Points...)
			}
		}
	}
	return all
}

// A site profile that predates the rule still loads, with a warning. A register of all ones is not an alarm
// meanwhile.
func TestFlagsOfAnOlderProfile(t *testing.T) {
	const text = "schema: 1\nmodel: acme-ups\ntitle: T\nkind: ups\nverified: paper\nbus: baud=9600\npoints:\n" +
		"  - {point: alarm, at: holding:0, type: bits, length: 1, flags: {0: hot}}\n"
	if _, err := Load("acme-ups.yaml", []byte(text)); err == nil ||
		!strings.Contains(err.Error(), "acme-ups.yaml:8:5: points[0].na: must state") {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "acme-ups.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	extended, err := New().WithModels(dir)
	if err != nil {
		t.Fatal(err)
	}
	warnings := extended.Warnings()
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], file+":8:5: points[0].na: must state") ||
		!strings.HasSuffix(warnings[0], "a fault with the next release") {
		t.Errorf("warnings %q", warnings)
	}
	p, _ := extended.Profile("acme-ups")
	if v, q := p.Points[0].Decode(Answer{p.Points[0].valueSpan(), []byte{0xFF, 0xFF}},
		catalogue.Text); q != drivers.Bad {
		t.Errorf("all ones decode to %q", v)
	}
}
