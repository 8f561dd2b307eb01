package modbus

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"bordo/drivers"
)

// instant is a port whose device replies before Write returns.
type instant struct {
	regs   func(unit byte, first, count int, out []byte)
	buf    [maxADU]byte
	answer []byte
}

func (p *instant) Write(req []byte) (int, error) {
	first, count := int(binary.BigEndian.Uint16(req[8:])), int(binary.BigEndian.Uint16(req[10:]))
	copy(p.buf[:], req[:8])
	p.answer = p.buf[:9+2*count]
	binary.BigEndian.PutUint16(p.answer[4:], uint16(3+2*count))
	p.answer[8] = byte(2 * count)
	p.regs(req[6], first, count, p.answer[9:])
	return len(req), nil
}

func (p *instant) Read(b []byte) (int, error) {
	n := copy(b, p.answer)
	p.answer = p.answer[n:]
	return n, nil
}

func (p *instant) SetDeadline(time.Time) error { return nil }
func (p *instant) Close() error                { return nil }

// twentyFloats returns a profile with twenty consecutive floats, like that of the end-to-end benchmark.
func twentyFloats(b *testing.B) *Profile {
	var text strings.Builder
	text.WriteString(
		"schema: 1\nmodel: bench-meter\ntitle: Bench\nkind: meter\nverified: paper\nlinks: [tcp]\nunit: {range: [1, 247]}\npoints:\n")
	for i, k := range []string{"ac_power", "ac_power_l1", "ac_power_l2", "ac_power_l3", "ac_voltage_l1",
		"ac_voltage_l2", "ac_voltage_l3", "ac_current_l1", "ac_current_l2", "ac_current_l3",
		"frequency", "power_factor", "reactive_power", "apparent_power", "import_energy", "export_energy",
		"reactive_import_energy", "reactive_export_energy", "ac_current", "temperature"} {
		text.WriteString("  - {point: " + k + ", at: holding:" + strconv.Itoa(2*i) + ", type: f32}\n")
	}
	p, err := Load("bench.yaml", []byte(text.String()))
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func floats(_ byte, first, count int, out []byte) {
	for i := 0; i < count; i += 2 {
		binary.BigEndian.PutUint32(out[2*i:], math.Float32bits(230.2+float32(first+i)))
	}
}

// BenchmarkPoll measures a poll without a network: twenty floats over Modbus TCP.
func BenchmarkPoll(b *testing.B) {
	d, err := newDevice(twentyFloats(b), drivers.Device{ID: "d", Unit: 1}, newBus(drivers.Line{Stream: true}))
	if err != nil {
		b.Fatal(err)
	}
	port := &instant{regs: floats}
	b.ReportAllocs()
	for b.Loop() {
		if r := d.Poll(b.Context(), port); r.Err != nil || len(r.Readings) != 20 {
			b.Fatal(r.Err, len(r.Readings))
		}
	}
}
