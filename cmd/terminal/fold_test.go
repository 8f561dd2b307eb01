package terminal

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// What is wider than a terminal is broken between words, loses nothing, and never goes on forever.
func TestFold(t *testing.T) {
	row := "line      rs485-a, serial:///dev/bordo/usb-1-2?baud=9600&parity=none&bits=8&stop=1, open, città è lunga"
	for width := range 200 {
		got := Fold(row, width, 10)
		if strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(row), "") {
			t.Errorf("%d columns: %q", width, got)
		}
		for l := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); width > 20 && n > width {
				t.Errorf("%d columns: %d characters in %q", width, n, l)
			}
		}
	}
	want := "broker    mqtt://127.0.0.1:1883, not\n          connected for 24s"
	if got := Fold("broker    mqtt://127.0.0.1:1883, not connected for 24s", 40, 10); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := FoldLines("one two  \n\nthree\n", 5, 1); got != "one\n two\n\nthree\n" {
		t.Errorf("got %q", got)
	}
}

// A table stands in columns where there is room, folds its last one where there is almost, and is set row by row on a phone.
func TestTable(t *testing.T) {
	table := Table{Head: []string{"model", "kind", "bus (serial)", "what it is"}, Rows: [][]string{
		{"eastron-sdm630", "meter", "9600 8N1", "Eastron SDM630 Modbus, three phases, 100 A"},
		{"sunspec", "-", "", "anything"},
		{"città", "io", "", ""},
	}}
	for width, want := range map[int]string{
		0: `MODEL           KIND   BUS (serial)  WHAT IT IS
eastron-sdm630  meter  9600 8N1      Eastron SDM630 Modbus, three phases, 100 A
sunspec         -                    anything
città           io
`,
		75: `MODEL           KIND   BUS (serial)  WHAT IT IS
eastron-sdm630  meter  9600 8N1      Eastron SDM630 Modbus, three phases,
                                     100 A
sunspec         -                    anything
città           io
`,
		40: `MODEL
eastron-sdm630
  meter, bus 9600 8N1, Eastron SDM630
  Modbus, three phases, 100 A
sunspec
  anything
città
  io
`,
	} {
		if got := table.Text(width); got != want {
			t.Errorf("%d columns:\n%s", width, got)
		}
	}
	plain := Table{Inset: 2, Rows: [][]string{{"a", "bb"}, {"aaa", "b"}}}
	if got, want := plain.Text(80), "  a    bb\n  aaa  b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Table{}).Text(40); got != "" {
		t.Errorf("an empty one: %q", got)
	}
	for width := 30; width < 100; width++ {
		for l := range strings.Lines(table.Text(width)) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > width {
				t.Errorf("%d columns: %d characters in %q", width, n, l)
			}
		}
	}
}
