package golden_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/golden"
	"bordo/drivers/modbus/slave"
)

// Every golden case of the project can be parsed, and formatting it gives the same conversation.
func TestEveryGoldenRoundTrips(t *testing.T) {
	files, err := filepath.Glob("../testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases (%v)", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := golden.Parse(file, text)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, cells := f.Registers(); len(cells) == 0 {
			t.Errorf("%s: no registers", file)
		}
		again, err := golden.Parse(file, f.Format())
		if err != nil || !reflect.DeepEqual(f, again) {
			t.Errorf("%s: read back differs (%v)\n%s", file, err, f.Format())
		}
	}
}

func TestParseFaults(t *testing.T) {
	const good = "origin: capture\nsource: here\n-- frames --\n> 01 04 00 00 00 02 71 CB\n< 01 04 04 43 66 33 34 1B 38\n-- readings --\nac_voltage_l1 230.2\n"
	if _, err := golden.Parse("x", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"capture", "hearsay",
			`x:7: origin must be capture, vendor-example, other-implementation, synthesised (got "hearsay")`},
		{"source: here", "# source", "x:7: source is missing"},
		{"source: here", "source here",
			`x:2: must be a key and a colon, such as origin:, or # before a remark (got "source")`},
		{"source: here", "line: udp", "x:2: line must be rtu or tcp"},
		{"1B 38", "1B 39", "x:5: the checksum must be 1B 38 (got 1B 39)"},
		{"> 01", "> 0x01", "x:4: not bytes in hexadecimal"},
		{"> 01", "* 01", "x:4: a frame begins with >"},
		{"> 01 04 00 00 00 02 71 CB\n", "", "x:4: an answer must follow its request"},
		{"> 01 04 00 00 00 02 71 CB\n< 01 04 04 43 66 33 34 1B 38\n", "", "x:5: there are no frames"},
		{"source: here", "source: here\nline: tcp", "x:5: a tcp frame has 9 to 260 bytes"},
		{"-- readings --", "-- reading --", `x:7: unknown part "reading"`},
		{"ac_voltage_l1 ", "voltage ", `x:7: "voltage" is not a point of the catalogue`},
	} {
		_, err := golden.Parse("x", []byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.As(err, new(*golden.Fault)) {
			t.Errorf("%s for %s: %v, want %s", c.new, c.old, err, c.want)
		}
	}
	if _, err := golden.Parse("x", make([]byte, golden.MaxFile+1)); err == nil {
		t.Error("an oversized file was accepted")
	}
}

// ask polls a device once through Capture.
func ask(t *testing.T, model string, stream bool, unit byte, a slave.Answerer) (drivers.Report, []modbus.Exchange) {
	t.Helper()
	here, there := driverstest.Wire(0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	units := map[byte]slave.Answerer{unit: a}
	go func() {
		if stream {
			ended <- slave.ServeTCP(ctx, there, units)
		} else {
			ended <- slave.ServeRTU(ctx, there, units, slave.RTU{})
		}
	}()
	rep, all, err := modbus.New().Capture(ctx, drivers.Line{Stream: stream, Baud: 9600, CharLen: 10}, here,
		drivers.Device{ID: "dev-1", Model: model, Unit: int(unit)})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return rep, all
}

// Replaying a captured device gives the same readings and identity. Neither the text nor the frames contain
// the serial number.
func TestCaptureAndReplay(t *testing.T) {
	for _, c := range []struct {
		model, serial, masked string
		stream                bool
	}{
		{"eastron-sdm630", "22041234", "65537", false},
		{"sunspec", "7E-SN0815abc", "0X-XX0000XXX", true},
		{"sunspec", "7E-SN0815abc", "0X-XX0000XXX", false},
		{"came-gard-ptx", "AB12345", "XX00000", false},
	} {
		t.Run(fmt.Sprint(c.model, c.stream), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := modbus.Named(c.model)
				if err != nil {
					t.Fatal(err)
				}
				device, err := slave.New(p,
					slave.Options{Identity: drivers.Description{Serial: c.serial, Firmware: "7"}})
				if err != nil {
					t.Fatal(err)
				}
				rep, all := ask(t, c.model, c.stream, 5, device)
				if rep.Description == nil || rep.Description.Serial != c.serial {
					t.Fatalf("description %+v", rep.Description)
				}
				f, err := golden.FromCapture(p, drivers.Device{ID: "dev-1"}, c.stream, rep, all)
				if err != nil {
					t.Fatal(err)
				}
				f.Source = "a test"
				text := f.Format()
				f, err = golden.Parse("capture.txtar", text)
				if err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				for _, secret := range []string{c.serial, fmt.Sprintf("% X", c.serial), "01 50 54 92"} { // 22041234
					if strings.Contains(string(text), secret) {
						t.Errorf("%q is in\n%s", secret, text)
					}
				}
				unit, replay := slave.NewReplay(f)
				again, _ := ask(t, c.model, c.stream, unit, replay)
				if unit != 5 || !reflect.DeepEqual(again.Readings, rep.Readings) || again.Err != nil ||
					len(again.Readings) == 0 {
					t.Errorf("unit %d: %v (%v), want %v", unit, again.Readings, again.Err, rep.Readings)
				}
				if again.Description == nil || again.Description.Serial != c.masked ||
					again.Description.Firmware != rep.Description.Firmware {
					t.Errorf("replayed description %+v, want %+v with serial %s", again.Description, rep.Description,
						c.masked)
				}
				if i := slices.Index(f.Identity, golden.Line{Name: "serial", Text: c.masked}); i < 0 {
					t.Errorf("identity %v", f.Identity)
				}
			})
		})
	}
}

// No file is made from an incomplete poll, because the received part may contain the serial number.
func TestCaptureOfAnIncompletePoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := modbus.Named("eastron-sdm630")
		if err != nil {
			t.Fatal(err)
		}
		device, err := slave.New(p, slave.Options{})
		if err != nil {
			t.Fatal(err)
		}
		rep, all := ask(t, p.Model, false, 1, slave.AnswererFunc(func(pdu []byte) []byte {
			if pdu[0] == 3 {
				return nil
			}
			return device.Answer(pdu)
		}))
		if f, err := golden.FromCapture(p, drivers.Device{}, false, rep, all); err == nil {
			t.Errorf("got a file: %s", f.Format())
		}
		rep.Err = nil
		if f, err := golden.FromCapture(p, drivers.Device{}, false, rep, all); err == nil {
			t.Errorf("got a file: %s", f.Format())
		}
		rep.Description = &drivers.Description{Serial: "12345678"}
		if f, err := golden.FromCapture(p, drivers.Device{}, false, rep, all); err == nil {
			t.Errorf("a missing serial number was masked: %s", f.Format())
		}
		time.Sleep(time.Second)
	})
}

// A replay refuses registers that it does not know, and all writes.
func TestReplayRefuses(t *testing.T) {
	f, err := golden.Parse("x",
		[]byte("origin: capture\nsource: s\n-- frames --\n> 01 01 00 00 00 0A BC 0D\n< 01 01 02 05 02 3B 6D\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, r := slave.NewReplay(f)
	for req, want := range map[string]string{
		"\x01\x00\x00\x00\x0A":             "01 02 05 02",
		"\x01\x00\x01\x00\x03":             "01 01 02",
		"\x01\x00\x01\x00\x0A":             "81 02",
		"\x01\x00\x01\x00\x00":             "81 03",
		"\x03\x00\x00\x00\x01":             "83 02",
		"\x03\x00\x00\x00\x7E":             "83 03",
		"\x03\x00\x00":                     "83 03",
		"\x05\x00\x00\xFF\x00":             "85 01",
		"\x10\x00\x00\x00\x01\x02\x00\x00": "90 01",
		"":                                 "",
	} {
		if got := fmt.Sprintf("% X", r.Answer([]byte(req))); got != want {
			t.Errorf("% X: %s, want %s", req, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("origin: capture\nsource: here\nline: tcp\n-- frames --\n> 00 01 00 00 00 06 01 03 9C 40 00 02\n< 00 01 00 00 00 07 01 03 04 53 75 6E 53\n")
	f.Add("origin: capture\nsource: here\n-- frames --\n> 01 04 00 00 00 02 71 CB\n-- taps --\ndoor_open di1\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := golden.Parse("x", []byte(text))
		if err != nil {
			return
		}
		if again, err := golden.Parse("x", file.Format()); err != nil ||
			!reflect.DeepEqual(again.Exchanges, file.Exchanges) {
			t.Errorf("read back differs: %v", err)
		}
		_, r := slave.NewReplay(file)
		for _, x := range file.Exchanges {
			if _, pdu, err := golden.Open(x.Request, file.Stream); err == nil {
				r.Answer(pdu)
			}
		}
	})
}
