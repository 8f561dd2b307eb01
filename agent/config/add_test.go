package config

import (
	"errors"
	"strings"
	"testing"

	"bordo/drivers/all"
)

const addHead = "version: 1 # as always\ntenant: adda\nnode: rivolta\nmqtt: {url: mqtts://mqtt.test}\n"

// An addition goes where it belongs, and every other line stays as it was.
func TestAdd(t *testing.T) {
	line := Addition{ID: "rs485-1", Port: "serial:///dev/bordo/usb-1-2?baud=9600&parity=none&bits=8&stop=1",
		Entries: []string{"# probably a meter", "- {id: meter-1, model: eastron-sdm630, unit: 3}"}}
	devices := Addition{Line: "roof", Entries: []string{"# an inverter", "- {id: inv-2, model: sunspec, unit: 2}"}}
	const (
		newLine = "  - id: rs485-1\n    port: serial:///dev/bordo/usb-1-2?baud=9600&parity=none&bits=8&stop=1\n    devices:\n" +
			"      # probably a meter\n      - {id: meter-1, model: eastron-sdm630, unit: 3}\n"
		roof   = "  - id: roof\n    port: tcp://192.168.1.40:502\n    devices:\n      - {id: inv-1, model: sunspec, unit: 1} # the old one\n"
		atDash = "- id: rs485-1\n  port: serial:///dev/bordo/usb-1-2?baud=9600&parity=none&bits=8&stop=1\n  devices:\n" +
			"    # probably a meter\n    - {id: meter-1, model: eastron-sdm630, unit: 3}\n"
		newEntry = "      # an inverter\n      - {id: inv-2, model: sunspec, unit: 2}\n"
		brackets = `lines: [{id: roof, port: "tcp://192.168.1.40:502", devices: [{id: inv-1, model: sunspec, unit: 1}]}]` + "\n"
	)
	for name, x := range map[string]struct {
		text string
		add  Addition
		want string
	}{
		"no lines":                    {"", line, "\nlines:\n" + newLine},
		"a remark of lines":           {"# lines:\n#   - id: x\n", line, "# lines:\n#   - id: x\n\nlines:\n" + newLine},
		"lines without any":           {"lines: # none yet\n# end\n", line, "lines: # none yet\n" + newLine + "# end\n"},
		"an empty list":               {"lines: [] # none yet\n", line, "lines: # none yet\n" + newLine},
		"behind a line":               {"lines:\n" + roof + "\n# the end\nbuffer: {max_size: 64MiB}\n", line, "lines:\n" + roof + newLine + "\n# the end\nbuffer: {max_size: 64MiB}\n"},
		"no dash deeper":              {"lines:\n- id: roof\n  port: tcp://192.168.1.40:502\n  devices:\n  - id: inv-1\n    model: sunspec\n    unit: 1\nsite: {name: x}\n", line, "lines:\n- id: roof\n  port: tcp://192.168.1.40:502\n  devices:\n  - id: inv-1\n    model: sunspec\n    unit: 1\n" + atDash + "site: {name: x}\n"},
		"lines in brackets":           {brackets, line, strings.TrimSuffix(brackets, "]\n") + `, {id: rs485-1, port: "serial:///dev/bordo/usb-1-2?baud=9600&parity=none&bits=8&stop=1", devices: [{id: meter-1, model: eastron-sdm630, unit: 3}]}]` + "\n"},
		"no line end":                 {"lines:\n" + strings.TrimSuffix(roof, "\n"), line, "lines:\n" + roof + newLine},
		"devices":                     {"lines:\n" + roof + "# end\n", devices, "lines:\n" + roof + newEntry + "# end\n"},
		"devices, brackets":           {brackets, devices, strings.Replace(brackets, "unit: 1}]", "unit: 1}, {id: inv-2, model: sunspec, unit: 2}]", 1)},
		"devices of the first of two": {"lines:\n" + roof + newLine, devices, "lines:\n" + roof + newEntry + newLine},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, change := range map[string]func(string) string{
				"plain":   func(s string) string { return s },
				"windows": func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "\n", "\r\n") },
			} {
				got, err := Add([]byte(change(addHead+x.text)), x.add)
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != change(addHead+x.want) && (kind == "plain" || name != "no line end") {
					t.Errorf("%s: got\n%s\nwant\n%s", kind, got, change(addHead+x.want))
				}
				c, err := Parse("x", got, all.List())
				if err != nil {
					t.Fatalf("%s: no configuration: %v\n%s", kind, err, got)
				}
				n := 0
				for _, l := range c.Lines {
					n += len(l.Devices)
				}
				if before := strings.Count(x.text, "model:"); n != before+1 {
					t.Errorf("%s: %d devices of %d and one more", kind, n, before)
				}
			}
		})
	}
}

// What has no place is left to the person.
func TestAddByHand(t *testing.T) {
	for name, x := range map[string]struct {
		text string
		add  Addition
	}{
		"all in braces":   {`{"version": 1, "tenant": "a", "node": "b", "mqtt": {"url": "mqtt://127.0.0.1"}}`, Addition{ID: "a", Port: "tcp://h:1"}},
		"no such line":    {addHead + "lines: []\n", Addition{Line: "roof"}},
		"lines is a word": {addHead + "lines: roof\n", Addition{ID: "a", Port: "tcp://h:1"}},
	} {
		if got, err := Add([]byte(x.text), x.add); !errors.Is(err, ErrByHand) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// A line that is a remark as a whole becomes part of the configuration once the # is taken away, also in a file without lines.
func TestAddRemark(t *testing.T) {
	remark := Addition{ID: "rs485-1", Port: "serial:///dev/bordo/usb-1-2?baud=38400&parity=even&bits=8&stop=1", Remark: true,
		Entries: []string{"# unit 1 answers", "# - {id: barrier-1, model: came-gard-ptx, unit: 1}"}}
	for name, lines := range map[string]string{"no lines": "", "a line": "lines:\n  - {id: roof, port: \"tcp://192.168.1.40:502\", devices: [{id: inv-1, model: sunspec, unit: 1}]}\n"} {
		before, err := Parse("x", []byte(addHead+lines), all.List())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := Add([]byte(addHead+lines), remark)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c, err := Parse("x", got, all.List()); err != nil || len(c.Lines) != len(before.Lines) {
			t.Fatalf("%s: not the same lines (%v):\n%s", name, err, got)
		}
		text := strings.NewReplacer("  # - id", "  - id", "  #   port", "    port", "  #   devices", "    devices", "  #     # - {", "      - {").Replace(string(got))
		c, err := Parse("x", []byte(text), all.List())
		if err != nil || len(c.Lines) != len(before.Lines)+1 || c.Lines[len(c.Lines)-1].Devices[0].ID != "barrier-1" {
			t.Errorf("%s: without the # it is no line (%v):\n%s", name, err, text)
		}
	}
}
