//go:build e2e

package modbus_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	goburrow "github.com/goburrow/modbus"
	"golang.org/x/term"

	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/slave"
)

// twentyFloats returns a profile of a meter with twenty consecutive floats.
func twentyFloats(tb testing.TB) *modbus.Profile {
	tb.Helper()
	text := "schema: 1\nmodel: bench-meter\ntitle: Bench\nkind: meter\nverified: paper\nbus: baud=9600\nunit: {range: [1, 247]}\ntiming: {reply_max: 500ms, reply_usual: 5ms}\npoints:\n"
	for i, k := range strings.Fields(
		"ac_power ac_power_l1 ac_power_l2 ac_power_l3 ac_voltage_l1 ac_voltage_l2 ac_voltage_l3 ac_current_l1 ac_current_l2 ac_current_l3 " +
			"frequency power_factor reactive_power apparent_power import_energy export_energy reactive_import_energy reactive_export_energy ac_current temperature") {
		text += fmt.Sprintf("  - {point: %s, at: holding:%d, type: f32}\n", k, 2*i)
	}
	p, err := modbus.Load("bench.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// floats replies to any read of holding registers.
var floats = slave.AnswererFunc(func(pdu []byte) []byte {
	n := int(binary.BigEndian.Uint16(pdu[3:]))
	out := make([]byte, 2+2*n)
	out[0], out[1] = 3, byte(2*n)
	for i := 0; i < n; i += 2 {
		binary.BigEndian.PutUint32(out[2+2*i:], math.Float32bits(230.2))
	}
	return out
})

// cpu returns the processor time that this process has used.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLine measures the utilisation of a serial line: the time that the protocol needs at that speed
// (the bytes of request and reply, the silence between frames, the device's own delay) divided by the
// duration of a poll. The line is a pseudo terminal whose other side takes as long as the bytes would. The
// median is reported beside the best poll, because the other side also needs the processor at the right
// moment.
func BenchmarkLine(b *testing.B) {
	const think = 5 * time.Millisecond
	for _, baud := range []int{9600, 19200, 115200} {
		b.Run(fmt.Sprint(baud), func(b *testing.B) {
			master, tty, err := pty.Open()
			if err != nil {
				b.Fatal(err)
			}
			defer master.Close()
			if _, err := term.MakeRaw(int(tty.Fd())); err != nil {
				b.Fatal(err)
			}
			name := filepath.Join(b.TempDir(), "line")
			if err := os.Symlink(tty.Name(), name); err != nil {
				b.Fatal(err)
			}
			char := 10 * time.Second / time.Duration(baud)
			ctx, cancel := context.WithCancel(b.Context())
			served := make(chan error, 1)
			go func() {
				served <- slave.ServeRTU(ctx, serving{ctx, master}, map[byte]slave.Answerer{1: floats},
					slave.RTU{Char: char, Delay: func(byte, []byte) time.Duration { return think }})
			}()
			url := fmt.Sprintf("serial://%s?baud=%d", name, baud)
			e, err := line.Parse(url)
			if err != nil {
				b.Fatal(err)
			}
			port, err := line.Open(ctx, e)
			if err != nil {
				b.Fatal(err)
			}
			link, err := modbus.Of(twentyFloats(b)).Link(e.Line("l"),
				[]drivers.Device{{ID: "d", Model: "bench-meter", Unit: 1, Every: time.Hour}})
			if err != nil {
				b.Fatal(err)
			}
			in := make(chan drivers.Request)
			done := make(chan error, 1)
			go func() { done <- link.Run(ctx, port, in, func(drivers.Report) {}) }()
			poll := func() {
				answer := make(chan drivers.Answer, 1)
				in <- drivers.Request{Device: "d", Answer: func(a drivers.Answer) { answer <- a }}
				if a := <-answer; a.Report.Err != nil {
					b.Fatal(a.Report.Err)
				}
			}
			poll() // identifies the device
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				poll()
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			silence := 35 * char / 10
			if baud > 19200 {
				silence = 1750 * time.Microsecond
			}
			needed := time.Duration(8+5+80)*char + silence + think
			b.ReportMetric(100*float64(needed)/float64(took[len(took)/2]), "%line-median")
			b.ReportMetric(100*float64(needed)/float64(took[0]), "%line-best")
			cancel()
			<-done
			tty.Write([]byte{0}) //nolint:errcheck // wakes the other side
			<-served
			port.Close()
			tty.Close()
		})
	}
}

// server listens on a loopback port and replies for fifty devices.
func server(b *testing.B) (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			slave.ServeTCP(ctx, c, map[byte]slave.Answerer{0: floats}) //nolint:errcheck // the client's error reports it
			c.Close()
		}
	}()
	return l.Addr().String(), func() { cancel(); l.Close(); <-over }
}

// BenchmarkTCP polls fifty devices of twenty floats behind one address, with this driver and with goburrow's
// own handler.
func BenchmarkTCP(b *testing.B) {
	b.Run("bordo", func(b *testing.B) {
		addr, stop := server(b)
		defer stop()
		e, err := line.Parse("tcp://" + addr)
		if err != nil {
			b.Fatal(err)
		}
		port, err := line.Open(b.Context(), e)
		if err != nil {
			b.Fatal(err)
		}
		defer port.Close()
		var devices []drivers.Device
		for u := 1; u <= 50; u++ {
			devices = append(devices, drivers.Device{ID: fmt.Sprint("d", u), Model: "bench-meter", Unit: u,
				Every: time.Hour})
		}
		link, err := modbus.Of(twentyFloats(b)).Link(e.Line("l"), devices)
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		in := make(chan drivers.Request)
		done := make(chan error, 1)
		go func() { done <- link.Run(ctx, port, in, func(drivers.Report) {}) }()
		answer := make(chan drivers.Answer, 1)
		n, busy := 0, cpu(b)
		b.ReportAllocs()
		for b.Loop() {
			in <- drivers.Request{Device: devices[n%50].ID, Answer: func(a drivers.Answer) { answer <- a }}
			if a := <-answer; a.Report.Err != nil || len(a.Report.Readings) != 20 {
				b.Fatal(a.Report.Err)
			}
			n++
		}
		b.ReportMetric(float64(b.N)/(cpu(b)-busy).Seconds(), "polls/cpu-s")
		cancel()
		<-done
	})
	b.Run("goburrow", func(b *testing.B) {
		addr, stop := server(b)
		defer stop()
		h := goburrow.NewTCPClientHandler(addr)
		defer h.Close()
		c := goburrow.NewClient(h)
		n, busy := 0, cpu(b)
		b.ReportAllocs()
		for b.Loop() {
			h.SlaveId = byte(1 + n%50)
			data, err := c.ReadHoldingRegisters(0, 40)
			if err != nil || len(data) != 80 {
				b.Fatal(err)
			}
			values := make([]float64, 20)
			for i := range values {
				values[i] = float64(math.Float32frombits(binary.BigEndian.Uint32(data[4*i:])))
			}
			n++
		}
		b.ReportMetric(float64(b.N)/(cpu(b)-busy).Seconds(), "polls/cpu-s")
	})
}
