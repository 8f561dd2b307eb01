package modbus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/tools/txtar"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// A golden case is testdata/<model>/<name>.txtar:
//
//	origin: capture | vendor-example | other-implementation | synthesised
//	source: origin of the frames
//	line: rtu | tcp (format of the frames; default rtu)
//	-- frames --
//	> 01 04 00 00 00 02 71 CB
//	< 01 04 04 43 66 33 34 1B 38
//	-- readings --
//	ac_voltage_l1 230.2
//	-- identity --
//	serial 12345
//	-- taps --
//	door_open di1 inverted
//	-- commands --
//	barrier.stop > 01 05 00 00 FF 00 8C 3A
//	relay.pulse output=2 > 01 05 02 01 00 07 DC 70
//
// The frames define a device that knows the registers in them and refuses all others. The driver polls it
// until it has learned that. The first reading of each point must equal the file's, with no point missing or
// added: numbers to the written digits, "-" for no value. The expected values come from the source, never
// from our decoder.
type golden struct {
	model, origin, source string
	stream                bool
	unit                  byte
	registers             map[modbus.Address]uint16
	readings              map[string]string
	identity              map[string]string
	taps                  []drivers.ChannelMap
	commands              []string
}

var origins = []string{"capture", "vendor-example", "other-implementation", "synthesised"}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases (%v)", err)
	}
	driver, proved := modbus.New(), map[string]bool{}
	for _, file := range files {
		g := readGolden(t, file)
		proved[g.model] = proved[g.model] || g.origin != "synthesised"
		t.Run(g.model+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { g.check(t, driver) })
		})
	}
	for _, p := range modbus.Embedded() {
		switch {
		case !slices.ContainsFunc(files, func(f string) bool { return filepath.Base(filepath.Dir(f)) == p.Model }):
			t.Errorf("%s has no golden case", p.Model)
		case p.Verified != "paper" && !proved[p.Model]:
			t.Errorf("%s is verified by %s without an external golden case", p.Model, p.Verified)
		}
	}
}

func readGolden(t *testing.T, file string) *golden {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{model: filepath.Base(filepath.Dir(file)), registers: map[modbus.Address]uint16{},
		readings: map[string]string{}, identity: map[string]string{}}
	ar := txtar.Parse(data)
	for _, l := range lines(string(ar.Comment)) {
		switch k, v, _ := strings.Cut(l, ": "); k {
		case "origin":
			g.origin = v
		case "source":
			g.source = v
		case "line":
			g.stream = v == "tcp"
		}
	}
	if !slices.Contains(origins, g.origin) || g.source == "" {
		t.Fatalf("%s: must state its origin (%s) and its source", file, strings.Join(origins, ", "))
	}
	for _, f := range ar.Files {
		for _, l := range lines(string(f.Data)) {
			word, rest, _ := strings.Cut(l, " ")
			switch f.Name {
			case "readings":
				g.readings[word] = strings.TrimSpace(rest)
			case "identity":
				g.identity[word] = strings.TrimSpace(rest)
			case "taps":
				channel, inverted, _ := strings.Cut(strings.TrimSpace(rest), " ")
				g.taps = append(g.taps, drivers.ChannelMap{Point: word, Channel: channel,
					Invert: inverted == "inverted"})
			case "commands":
				g.commands = append(g.commands, l)
			}
		}
		if f.Name == "frames" {
			g.frames(t, file, lines(string(f.Data)))
		}
	}
	return g
}

func lines(s string) []string {
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(s), "\n"), func(l string) bool {
		return strings.TrimSpace(l) == "" || strings.HasPrefix(l, "#")
	})
}

// frames extracts the registers from the exchanges.
func (g *golden) frames(t *testing.T, file string, lines []string) {
	t.Helper()
	var req []byte
	for _, l := range lines {
		unit, pdu, err := unframe(l[1:], g.stream)
		if err != nil {
			t.Fatalf("%s: %q: %v", file, l, err)
		}
		if l[0] == '>' {
			req, g.unit = pdu, unit
			continue
		}
		if pdu[0]&0x80 != 0 {
			continue // an exception: these registers stay unknown
		}
		table := map[byte]modbus.Table{1: modbus.Coil, 2: modbus.Discrete, 3: modbus.Holding, 4: modbus.Input}[req[0]]
		first, count := binary.BigEndian.Uint16(req[1:]), int(binary.BigEndian.Uint16(req[3:]))
		if pdu[0] != req[0] || table == 0 || int(pdu[1]) != len(pdu)-2 {
			t.Fatalf("%s: %q is not a reply to % X", file, l, req)
		}
		for i := range count {
			a := modbus.Address{Table: table, Number: first + uint16(i)}
			if table.Bits() {
				g.registers[a] = uint16(pdu[2+i/8] >> (i % 8) & 1)
			} else {
				g.registers[a] = binary.BigEndian.Uint16(pdu[2+2*i:])
			}
		}
	}
}

// unframe checks a frame independently of the driver.
func unframe(text string, stream bool) (unit byte, pdu []byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), " ", ""))
	switch {
	case err != nil:
		return 0, nil, err
	case stream && (len(b) < 8 || int(binary.BigEndian.Uint16(b[4:])) != len(b)-6):
		return 0, nil, fmt.Errorf("the length in the header does not match the frame")
	case stream:
		return b[6], b[7:], nil
	case len(b) < 4:
		return 0, nil, fmt.Errorf("too short")
	}
	if sum := checksum(b[:len(b)-2]); !bytes.Equal(sum, b[len(b)-2:]) {
		return 0, nil, fmt.Errorf(
			"the checksum is wrong: the last two bytes must be % X, or % X must be added where there is none", sum,
			checksum(b))
	}
	return b[0], b[1 : len(b)-2], nil
}

// checksum returns the checksum of a frame on a serial line.
func checksum(b []byte) []byte {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 == 1 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
	}
	return []byte{byte(crc), byte(crc >> 8)}
}

// Answer implements slave.Answerer, so that the golden case is a device.
func (g *golden) Answer(pdu []byte) []byte {
	switch pdu[0] {
	case 1, 2, 3, 4:
	case 5, 6:
		return pdu
	default:
		return []byte{pdu[0] | 0x80, 1}
	}
	table := map[byte]modbus.Table{1: modbus.Coil, 2: modbus.Discrete, 3: modbus.Holding, 4: modbus.Input}[pdu[0]]
	first, count := binary.BigEndian.Uint16(pdu[1:]), int(binary.BigEndian.Uint16(pdu[3:]))
	out := make([]byte, 2+2*count)
	if table.Bits() {
		out = out[:2+(count+7)/8]
	}
	out[0], out[1] = pdu[0], byte(len(out)-2)
	for i := range count {
		v, ok := g.registers[modbus.Address{Table: table, Number: first + uint16(i)}]
		if !ok {
			return []byte{pdu[0] | 0x80, 2}
		}
		if table.Bits() {
			out[2+i/8] |= byte(v) << (i % 8)
		} else {
			binary.BigEndian.PutUint16(out[2+2*i:], v)
		}
	}
	return out
}

// check polls the golden case until nothing new is learned.
func (g *golden) check(t *testing.T, driver drivers.Driver) {
	here, there := driverstest.Wire(0)
	link, err := driver.Link(drivers.Line{ID: "l", Stream: g.stream},
		[]drivers.Device{{ID: "d", Model: g.model, Unit: int(g.unit), Every: 10 * time.Second, ChannelMaps: g.taps}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Minute)
	defer cancel()
	var sent bytes.Buffer
	var mu sync.Mutex // the race detector does not know that nothing runs after synctest.Wait
	units := map[byte]slave.Answerer{g.unit: slave.AnswererFunc(func(pdu []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		if pdu[0] == 5 || pdu[0] == 6 || pdu[0] > 15 {
			fmt.Fprintf(&sent, "% X", pdu)
		}
		return g.Answer(pdu)
	})}
	served := make(chan error, 1)
	go func() {
		if g.stream {
			served <- slave.ServeTCP(ctx, there, units)
		} else {
			served <- slave.ServeRTU(ctx, there, units, slave.RTU{})
		}
	}()
	in := make(chan drivers.Request, len(g.commands))
	var last drivers.Report
	first := map[string]drivers.Reading{} // slow points are not in every report, and constant values become stale
	var about *drivers.Description
	done := make(chan error, 1)
	go func() {
		done <- link.Run(ctx, here, in, func(r drivers.Report) {
			mu.Lock()
			defer mu.Unlock()
			if last = r; r.Description != nil {
				about = r.Description
			}
			for _, x := range r.Readings {
				if _, ok := first[x.Point]; !ok {
					first[x.Point] = x
				}
			}
		})
	}()
	time.Sleep(20 * time.Minute)
	synctest.Wait()
	mu.Lock()
	if last.Err != nil {
		t.Errorf("error after 20 min: %v", last.Err)
	}
	g.compare(t, first)
	for k, want := range g.identity {
		if about == nil || want != map[string]string{"maker": about.Maker, "model": about.Model,
			"serial": about.Serial, "firmware": about.Firmware}[k] {
			t.Errorf("%s: got %+v, want %s", k, about, want)
		}
	}
	mu.Unlock()
	for _, c := range g.commands {
		asked, frame, _ := strings.Cut(c, " > ")
		action, args := command(t, asked)
		_, want, err := unframe(frame, g.stream)
		if err != nil {
			t.Errorf("%s: %v", c, err)
		}
		mu.Lock()
		sent.Reset()
		mu.Unlock()
		in <- drivers.Request{Device: "d", Command: &drivers.Command{Action: action, Args: args}}
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		if got := sent.String(); got != fmt.Sprintf("% X", want) {
			t.Errorf("%s wrote %s, want % X", action, got, want)
		}
		mu.Unlock()
	}
	cancel()
	<-done
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// command parses "relay.pulse output=2".
func command(t *testing.T, asked string) (action string, args map[string]any) {
	t.Helper()
	action, rest, _ := strings.Cut(asked, " ")
	for _, arg := range strings.Fields(rest) {
		key, value, _ := strings.Cut(arg, "=")
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%s: %v", asked, err)
		}
		if args == nil {
			args = map[string]any{}
		}
		args[key] = x
	}
	return action, args
}

func (g *golden) compare(t *testing.T, readings map[string]drivers.Reading) {
	t.Helper()
	expected := slices.Collect(maps.Keys(g.readings))
	slices.Sort(expected)
	for _, k := range expected {
		r, ok := readings[k]
		switch want := g.readings[k]; {
		case !ok:
			t.Errorf("%s is missing, want %s", k, want)
		case want == "-" && r.Quality != drivers.Bad, want != "-" && r.Quality != drivers.Good, !agrees(r.Value, want):
			t.Errorf("%s = %s, want %s%s", k, shown(r), want, suspicion(r.Value, want))
		}
	}
	unexpected := slices.Collect(maps.Keys(readings))
	slices.Sort(unexpected)
	for _, k := range unexpected {
		if _, ok := g.readings[k]; !ok {
			t.Errorf("unexpected %s = %s", k, shown(readings[k]))
		}
	}
}

// shown formats a reading for a failure message; a wrongly assembled float can have forty digits.
func shown(r drivers.Reading) string {
	switch {
	case r.Quality == drivers.Bad:
		return "no value"
	case r.Value.Type() != catalogue.Float:
		return r.Value.String()
	}
	text := strconv.FormatFloat(r.Value.Float(), 'g', 10, 64)
	if r.Quality != drivers.Good {
		text += fmt.Sprintf(" (quality %d)", r.Quality)
	}
	return text
}

// suspicion suggests what is wrong with a value that differs from the expected one.
func suspicion(v catalogue.Value, want string) string {
	x, err := strconv.ParseFloat(want, 64)
	if err != nil || x == 0 || v.Type() != catalogue.Float || v.Float() == 0 {
		return ""
	}
	switch ratio := v.Float() / x; {
	case math.Abs(ratio) > 1e8 || math.Abs(ratio) < 1e-8:
		return ": are the words in the right order?"
	case ratio < 0:
		return ": is it signed?"
	default:
		if power := math.Log10(ratio); math.Abs(power-math.Round(power)) < 1e-4 {
			return fmt.Sprintf(": look at scale, it is %g times that", math.Pow10(int(math.Round(power))))
		}
	}
	return ""
}

// agrees compares a value with the printed one: a number to the digits that are printed.
func agrees(v catalogue.Value, want string) bool {
	if v.Type() != catalogue.Float {
		return v.String() == want || v.Type() == catalogue.Text && want == `""` && v.Text() == ""
	}
	x, err := strconv.ParseFloat(want, 64)
	if err != nil {
		return false
	}
	_, frac, _ := strings.Cut(want, ".")
	return math.Abs(v.Float()-x) <= 0.5*math.Pow10(-len(frac))
}
