package scan_test

import (
	"strings"
	"testing"

	"bordo/drivers/scan"
)

const (
	tty  = "serial:///dev/bordo/usb-1-2?baud=9600&parity=none&bits=8&stop=1"
	roof = "tcp://192.168.1.40:502"
)

func TestPropose(t *testing.T) {
	found := []scan.Found{
		{Port: tty, Unit: 3, Model: "eastron-sdm630", Title: "Eastron SDM630 Modbus", Kind: "meter", Serial: "22041234",
			Others: []string{"eastron-sdm230"}},
		{Port: tty, Unit: 7, Maker: "Acme", Product: "X\n- {id: evil}"},
		{Port: roof, Unit: 126, Model: "sunspec", Title: "SunSpec inverter", Kind: "inverter", Sure: true},
		{Port: "tcp://192.168.1.41:502", Unit: 1},
		{Port: tty, Unit: 9, Device: "meter-1", Model: "eastron-sdm630", Kind: "meter"},
	}
	t.Run("new", func(t *testing.T) {
		p := scan.Propose(found, scan.Taken{})
		want := `lines:
  - id: rs485-1
    port: ` + tty + `
    devices:
      # probably Eastron SDM630 Modbus, or eastron-sdm230, serial 22041234
      - {id: meter-1, model: eastron-sdm630, unit: 3}
      # unit 7 answers, model not recognised: Acme X - {id: evil}
  - id: lan-1
    port: tcp://192.168.1.40:502
    devices:
      # SunSpec inverter
      - {id: inv-1, model: sunspec, unit: 126}
#   - id: lan-2
#     port: tcp://192.168.1.41:502
#     devices:
#       # unit 1 answers, model not recognised: a device that says nothing of itself
`
		if p.Lines != want || len(p.Devices) != 0 {
			t.Errorf("proposed\n%s%v\nwant\n%s", p.Lines, p.Devices, want)
		}
	})
	t.Run("beside others", func(t *testing.T) {
		p := scan.Propose(found[:3], scan.Taken{Lines: []string{"lan-1", "lan-2"},
			Devices: []string{"meter-1", "inv-1"},
			Ports:   map[string]string{"serial /dev/bordo/usb-1-2": "hall"}})
		want := `lines:
  - id: lan-3
    port: tcp://192.168.1.40:502
    devices:
      # SunSpec inverter
      - {id: inv-2, model: sunspec, unit: 126}
`
		if p.Lines != want {
			t.Errorf("proposed\n%s\nwant\n%s", p.Lines, want)
		}
		want = `      # probably Eastron SDM630 Modbus, or eastron-sdm230, serial 22041234
      - {id: meter-2, model: eastron-sdm630, unit: 3}
      # unit 7 answers, model not recognised: Acme X - {id: evil}
`
		if p.Devices["hall"] != want {
			t.Errorf("proposed\n%s\nwant\n%s", p.Devices["hall"], want)
		}
	})
	t.Run("nothing known", func(t *testing.T) {
		p := scan.Propose(found[3:], scan.Taken{})
		if p.Lines != "#   - id: lan-1\n#     port: tcp://192.168.1.41:502\n#     devices:\n#       # unit 1 answers, model not recognised: a device that says nothing of itself\n" {
			t.Errorf("proposed\n%s", p.Lines)
		}
	})
	t.Run("two settings of one port", func(t *testing.T) {
		p := scan.Propose([]scan.Found{
			{Port: tty, Unit: 3, Model: "eastron-sdm630", Title: "Eastron SDM630 Modbus", Kind: "meter", Sure: true},
			{Port: "serial:///dev/bordo/usb-1-2?baud=38400&parity=even&bits=8&stop=1", Unit: 1,
				Candidates: []scan.Candidate{{Model: "came-gard-ptx", Kind: "barrier"},
					{Model: "waveshare-relay", Kind: "io"}}},
		}, scan.Taken{Devices: []string{"io-1"}})
		want := `lines:
  - id: rs485-1
    port: ` + tty + `
    devices:
      # Eastron SDM630 Modbus
      - {id: meter-1, model: eastron-sdm630, unit: 3}
#   - id: rs485-2
#     port: serial:///dev/bordo/usb-1-2?baud=38400&parity=even&bits=8&stop=1
#     devices:
#       # found with baud=38400&parity=even&bits=8&stop=1, and this port has baud=9600&parity=none&bits=8&stop=1: one line has one speed and parity.
#       # Set these devices to that of the port, or give them an adapter of their own.
#       # unit 1 answers, model not recognised: a device that says nothing of itself
#       # It could be one of these, the likeliest first: compare with its label, and take away the # of one.
#       # - {id: barrier-1, model: came-gard-ptx, unit: 1}
#       # - {id: io-2, model: waveshare-relay, unit: 1}
`
		if p.Lines != want {
			t.Errorf("proposed\n%s\nwant\n%s", p.Lines, want)
		}
	})
	t.Run("another setting than the line's", func(t *testing.T) {
		p := scan.Propose([]scan.Found{{Port: tty, Unit: 3, Model: "eastron-sdm630", Title: "Eastron SDM630 Modbus",
			Kind: "meter"}},
			scan.Taken{Ports: map[string]string{"serial /dev/bordo/usb-1-2": "hall"},
				Buses: map[string]string{"serial /dev/bordo/usb-1-2": "baud=19200&parity=none&bits=8&stop=1"}})
		if got := p.Devices["hall"]; p.Lines != "" || !strings.HasPrefix(got, "#       # found with baud=9600") ||
			!strings.Contains(got, "#       - {id: meter-1,") {
			t.Errorf("proposed\n%s%s", p.Lines, got)
		}
	})
}
