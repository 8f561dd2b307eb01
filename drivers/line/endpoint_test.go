package line_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bordo/drivers"
	"bordo/drivers/line"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"tcp://192.168.1.40":                                "tcp://192.168.1.40",
		"tcp://Inverter.Example:1502":                       "tcp://inverter.example:1502",
		"tcp://[fe80::1]:502":                               "tcp://[fe80::1]:502",
		"tcp://192.168.1.40?ids=tolerant":                   "tcp://192.168.1.40?ids=tolerant",
		"tcp://192.168.1.40?ids=strict":                     "tcp://192.168.1.40",
		"serial:///dev/ttyUSB0":                             "serial:///dev/ttyUSB0?baud=9600&parity=none&bits=8&stop=1",
		"serial:///dev//bordo/usb-1?baud=38400&parity=even": "serial:///dev/bordo/usb-1?baud=38400&parity=even&bits=8&stop=1",
		"serial:///dev/ttyS0?bits=7&stop=2&parity=odd":      "serial:///dev/ttyS0?baud=9600&parity=odd&bits=7&stop=2",
		"rtu+tcp://10.0.0.5:4001":                           "rtu+tcp://10.0.0.5:4001",
		"serial+tcp://10.0.0.5:4001":                        "serial+tcp://10.0.0.5:4001",
		"serial+tcp://10.0.0.5:4001?baud=19200&parity=even": "serial+tcp://10.0.0.5:4001?baud=19200&parity=even&bits=8&stop=1",
		"rtu+tcp://10.0.0.5:4001?baud=19200&parity=even":    "rtu+tcp://10.0.0.5:4001?baud=19200&parity=even&bits=8&stop=1",
	} {
		e, err := line.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if e.String() != want {
			t.Errorf("%s became %s, want %s", text, e, want)
		}
		if again, err := line.Parse(e.String()); err != nil || again != e {
			t.Errorf("%s does not read back: %v, %v", e, again, err)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                               `unknown kind of port ""`,
		"::":                             "not a port URL",
		"udp://1.2.3.4":                  "want tcp, serial or rtu+tcp",
		"tcp://":                         "needs a host",
		"tcp://::1":                      "IPv6 in brackets",
		"tcp://a b":                      "not a port URL",
		"tcp://h;x":                      "host must be",
		"tcp://h:0":                      "1 to 65535",
		"tcp://h:99999":                  "1 to 65535",
		"tcp://h/path":                   "only host and port",
		"tcp://user@h":                   "only host and port",
		"tcp://h?baud=9600":              "has only ids=strict or ids=tolerant",
		"tcp://h?ids=yes":                "strict or tolerant",
		"tcp://h?ids=strict&ids=strict":  "given 2 times",
		"rtu+tcp://h:1?ids=tolerant":     "no transaction id",
		"serial:///dev/ttyS0?ids=strict": "a setting of tcp:// only",
		"rtu+tcp://h":                    "needs a port",
		"serial://dev/ttyS0":             "three slashes",
		"serial:///dev/ttyS0?baud=9601":  "baud must be one of",
		"serial:///dev/ttyS0?baud=9600&baud=9600": "given 2 times",
		"serial:///dev/ttyS0?parity=mark":         "none, even or odd",
		"serial:///dev/ttyS0?bits=9":              "7 or 8",
		"serial:///dev/ttyS0?stop=3":              "1 or 2",
		"serial:///dev/ttyS0?speed=9600":          `unknown setting "speed"`,
	} {
		if _, err := line.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestEndpointKeyIsOneForOneLine(t *testing.T) {
	same := [][2]string{
		{"tcp://h", "tcp://H:502"},
		{"tcp://h:4001", "rtu+tcp://h:4001"},
		{"serial+tcp://h:4001", "rtu+tcp://h:4001"},
		{"serial:///dev/ttyS0", "serial:///dev/../dev/ttyS0?baud=19200"},
	}
	for _, pair := range same {
		a, err1 := line.Parse(pair[0])
		b, err2 := line.Parse(pair[1])
		if err1 != nil || err2 != nil || a.WithPort(502).Key() != b.WithPort(502).Key() {
			t.Errorf("%v: %q and %q (%v, %v)", pair, a.Key(), b.Key(), err1, err2)
		}
	}
	if e, _ := line.Parse("tcp://[fe80::1]"); !e.Portless() || e.WithPort(1502).String() != "tcp://[fe80::1]:1502" ||
		e.WithPort(1502).Portless() {
		t.Errorf("%v with a port is %v", e, e.WithPort(1502))
	}
	a, _ := line.Parse("tcp://h:502")
	b, _ := line.Parse("tcp://h:503")
	if a.Key() == b.Key() {
		t.Error("two ports of a host have one key")
	}
}

func TestEndpointSimulated(t *testing.T) {
	for text, want := range map[string]bool{
		"tcp://127.0.0.1": true, "tcp://[::1]:502": true, "tcp://localhost": true, "rtu+tcp://127.9.9.9:1": true,
		"tcp://192.168.1.1": false, "tcp://example.org": false, "serial:///dev/pts/3": true,
		"serial:///dev/ttyS0": false,
	} {
		e, err := line.Parse(text)
		if err != nil || e.Simulated() != want {
			t.Errorf("%s: simulated %v (%v), want %v", text, e.Simulated(), err, want)
		}
	}

	dir := t.TempDir()
	for target, want := range map[string]bool{"/dev/pts/none": true, "/dev/none": false, "/dev/pts/../none": false} {
		link := filepath.Join(dir, "line")
		os.Remove(link) //nolint:errcheck // of the case before
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		e, err := line.Parse("serial://" + link)
		if err != nil || e.Simulated() != want {
			t.Errorf("a link to %s, which is not there: simulated %v (%v), want %v", target, e.Simulated(), err, want)
		}
	}
}

func TestEndpointLine(t *testing.T) {
	for text, want := range map[string]drivers.Line{
		"tcp://h":                       {ID: "x", Stream: true},
		"rtu+tcp://h:1":                 {ID: "x", CharLen: 10, Tunnel: true},
		"serial+tcp://h:1":              {ID: "x", CharLen: 10, Tunnel: true},
		"serial:///dev/a?baud=2400":     {ID: "x", Baud: 2400, CharLen: 10},
		"serial:///dev/a?parity=even":   {ID: "x", Baud: 9600, CharLen: 11},
		"serial:///dev/a?bits=7&stop=2": {ID: "x", Baud: 9600, CharLen: 10},
	} {
		e, err := line.Parse(text)
		if err != nil || e.Line("x") != want {
			t.Errorf("%s: %+v (%v), want %+v", text, e.Line("x"), err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("serial:///dev/ttyUSB0?baud=9600")
	f.Add("rtu+tcp://[::1]:1?parity=odd")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := line.Parse(text)
		if err != nil {
			return
		}
		if again, err := line.Parse(e.String()); err != nil || again.Key() != e.Key() {
			t.Errorf("%q became %q, which gives %v (%v)", text, e, again, err)
		}
	})
}

func TestRS485IsOfSerialPortsOnly(t *testing.T) {
	e, err := line.Parse("serial:///dev/ttyS1?baud=9600&rs485=on")
	if err != nil || !e.RS485 {
		t.Fatalf("%+v, %v", e, err)
	}
	if again, err := line.Parse(e.String()); err != nil || again != e {
		t.Errorf("%s reads back as %+v, %v", e, again, err)
	}
	for _, bad := range []string{"serial:///dev/ttyS1?rs485=yes", "rtu+tcp://10.0.0.1:4001?rs485=on"} {
		if _, err := line.Parse(bad); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}
