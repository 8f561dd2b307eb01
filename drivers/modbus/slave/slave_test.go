package slave_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers/catalogue"
	"bordo/drivers/driverstest"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

const model = `
schema: 1
model: test-peer
title: Peer
kind: io
verified: paper
bus: baud=9600
limits: {registers: 4}
readable: [holding:8]
channels:
  - {channel: do1, at: coil:0, write: true}
  - {channel: do2, at: coil:1, write: true}
  - {channel: di1, at: discrete:0}
points:
  - {point: ac_power, at: holding:0, type: i16, scale: 0.1, na: [0x8000]}
  - {point: ac_energy, at: holding:1, type: u32, sf: holding:3}
  - {point: frequency, at: holding:2, type: u16, sf: holding:3}
`

func newDevice(t *testing.T, o slave.Options) *slave.Device {
	t.Helper()
	p, err := modbus.Load("test.yaml", []byte(model))
	if err != nil {
		t.Fatal(err)
	}
	d, err := slave.New(p, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ask(d *slave.Device, pdu string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(pdu, " ", ""))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("% X", d.Answer(b))
}

// Requests and replies as in the Modbus Application Protocol, chapter 6.
func TestAnswer(t *testing.T) {
	d := newDevice(t, slave.Options{Sparse: true})
	if err := d.Set("ac_power", catalogue.Number(-12.3)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, ask, want string }{
		{"read one", "03 00 00 00 01", "03 02 FF 85"},
		{"read the largest number", "03 00 00 00 04", "03 08 FF 85 00 00 00 00 00 00"},
		{"too many", "03 00 00 00 05", "83 03"},
		{"none", "03 00 00 00 00", "83 03"},
		{"a missing address", "03 00 03 00 02", "83 02"},
		{"a readable address without a point", "03 00 08 00 01", "03 02 00 00"},
		{"beyond the last address", "03 FF FF 00 02", "83 02"},
		{"a missing table", "04 00 00 00 01", "84 01"},
		{"an unsupported function", "07", "87 01"},
		{"a truncated request", "03 00 00", "83 03"},
		{"coils", "01 00 00 00 02", "01 01 00"},
		{"switch on", "05 00 01 FF 00", "05 00 01 FF 00"},
		{"and read it", "01 00 00 00 02", "01 01 02"},
		{"several coils", "0F 00 00 00 02 01 01", "0F 00 00 00 02"},
		{"read them back", "01 00 00 00 02", "01 01 01"},
		{"a missing coil", "05 00 02 FF 00", "85 02"},
		{"write a register", "06 00 00 00 07", "06 00 00 00 07"},
		{"read it back", "03 00 00 00 01", "03 02 00 07"},
		{"write several", "10 00 01 00 02 04 00 01 00 02", "10 00 01 00 02"},
		{"a wrong byte count", "10 00 01 00 02 03 00 01 00", "90 03"},
		{"inputs", "02 00 00 00 01", "02 01 00"},
	} {
		if got := ask(d, c.ask); got != c.want {
			t.Errorf("%s: %s got %s, want %s", c.name, c.ask, got, c.want)
		}
	}
	d.Refuse(modbus.Span{Table: modbus.Holding, First: 0, Count: 1})
	if got := ask(d, "03 00 00 00 01"); got != "83 02" {
		t.Errorf("a refused register: got %s", got)
	}
}

func TestSetRaisesTheScaleFactor(t *testing.T) {
	d := newDevice(t, slave.Options{})
	for point, v := range map[string]float64{"ac_energy": 100, "frequency": 50} {
		if err := d.Set(point, catalogue.Number(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Set("ac_energy", catalogue.Number(5e9)); err != nil { // more than fits into 32 bits: tens from now on
		t.Fatal(err)
	}
	regs := d.Registers(modbus.Address{Table: modbus.Holding, Number: 2}, 2)
	if int16(regs[1]) != 1 || regs[0]&0xFFFF == 50 {
		t.Errorf("registers %04X", regs)
	}
	for point, v := range map[string]catalogue.Value{"nothing": catalogue.Number(1), "ac_power": catalogue.Words("x")} {
		if err := d.Set(point, v); err == nil {
			t.Errorf("%s: %v", point, v)
		}
	}
	if err := d.Set("ac_power", catalogue.Number(1e6)); err == nil {
		t.Error("a value that does not fit was accepted")
	}
	if err := d.Set("ac_power", catalogue.Value{}); err != nil ||
		d.Registers(modbus.Address{Table: modbus.Holding}, 1)[0] != 0x8000 {
		t.Errorf("no value: %v, %04X", err, d.Registers(modbus.Address{Table: modbus.Holding}, 1))
	}
}

func TestHooks(t *testing.T) {
	var seen []string
	d := newDevice(t, slave.Options{
		OnCoil: func(n uint16, on bool) error { seen = append(seen, fmt.Sprint("coil ", n, on)); return nil },
		OnRegisters: func(n uint16, v []uint16) error {
			seen = append(seen, fmt.Sprint("registers ", n, v))
			return slave.Exception(6)
		},
		Writable: func(a modbus.Address) bool { return a.Number != 2 },
	})
	if got := ask(d, "05 00 00 FF 00"); got != "05 00 00 FF 00" {
		t.Errorf("got %s", got)
	}
	if got := ask(d, "06 00 00 00 07"); got != "86 06" {
		t.Errorf("got %s", got)
	}
	if got := ask(d, "06 00 02 00 07"); got != "86 02" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(seen); got != "[coil 0 true registers 0 [7]]" {
		t.Errorf("hooks saw %s", got)
	}
}

// ServeRTU finds requests in noise, ignores those for other units, executes broadcasts, and takes the time of
// the line.
func TestServeRTU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := driverstest.Wire(0)
		d := newDevice(t, slave.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		const char = time.Millisecond
		go func() {
			served <- slave.ServeRTU(ctx, there, map[byte]slave.Answerer{1: d},
				slave.RTU{Char: char, Delay: func(byte, []byte) time.Duration { return 50 * time.Millisecond }})
		}()
		say := func(frame string) {
			b, err := hex.DecodeString(strings.ReplaceAll(frame, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			here.Write(b) //nolint:errcheck // its effect is checked below
		}
		say("FF 00 01 04")             // noise
		say("02 03 00 00 00 01 84 39") // for another unit
		say("00 06 00 00 00 07 C9 D9") // for all
		say("01 03 00 00 00 01 84 0B") // damaged
		start := time.Now()
		say("01 03 00 00 00 01 84 0A")
		got := make([]byte, 7)
		if _, err := io.ReadFull(here, got); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); fmt.Sprintf("% X", got) != "01 03 02 00 07 F9 86" ||
			took < (8+7)*char+50*time.Millisecond {
			t.Errorf("received % X after %v", got, took)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestServeEndsWithTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := driverstest.Wire(0)
		served := make(chan error, 2)
		go func() { served <- slave.ServeTCP(t.Context(), there, nil) }()
		here.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
		here, there = driverstest.Wire(0)
		go func() { served <- slave.ServeTCP(t.Context(), there, nil) }()
		here.Write([]byte("GET / HTTP/1.1\r\n")) //nolint:errcheck // an error is expected
		if err := <-served; err == nil {
			t.Error("HTTP was accepted as Modbus")
		}
	})
}
