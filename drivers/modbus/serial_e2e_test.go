//go:build e2e

package modbus_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/term"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/line"
	"bordo/drivers/modbus/slave"
)

// bus is a serial line of pseudo terminals with a stable name that can be unplugged and plugged in again.
type bus struct {
	t      *testing.T
	name   string // a symbolic link, as udev creates it
	master *os.File
	slave  *os.File // held open so that the master does not get a hangup while no one else has it open
	units  map[byte]slave.Answerer
	over   chan error
	stop   context.CancelFunc
}

func newBus(t *testing.T, units map[byte]slave.Answerer) *bus {
	t.Helper()
	b := &bus{t: t, name: filepath.Join(t.TempDir(), "usb-1-2"), units: units}
	b.plug()
	return b
}

func (b *bus) plug() {
	b.t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := term.MakeRaw(int(tty.Fd())); err != nil {
		b.t.Fatal(err)
	}
	os.Remove(b.name) //nolint:errcheck // it does not exist the first time
	if err := os.Symlink(tty.Name(), b.name); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	b.master, b.slave, b.stop, b.over = master, tty, cancel, make(chan error, 1)
	go func() { b.over <- slave.ServeRTU(ctx, serving{ctx, master}, b.units, slave.RTU{}) }()
}

// unplug removes the adapter.
func (b *bus) unplug() {
	if b.master == nil {
		return
	}
	b.stop()
	b.slave.Write([]byte{0}) //nolint:errcheck // only wakes the other side
	<-b.over
	b.master.Close()
	b.slave.Close()
	os.Remove(b.name) //nolint:errcheck // as above
	b.master = nil
}

// serving is the master side until its context ends.
type serving struct {
	ctx context.Context
	f   *os.File
}

func (p serving) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, io.EOF
	}
	return p.f.Read(b)
}

func (p serving) Write(b []byte) (int, error) { return p.f.Write(b) }

// open does what the owner of a line does: it opens the port and runs the link, again after each loss.
func open(ctx context.Context, t *testing.T, url string, link drivers.Link, out func(drivers.Report)) {
	t.Helper()
	e, err := line.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil {
		p, err := line.Open(ctx, e)
		if err == nil {
			err = link.Run(ctx, p, nil, out)
			p.Close()
		}
		if ctx.Err() == nil && !drivers.PortLost(err) {
			t.Errorf("the line ended with %v", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func lineOf(t *testing.T, url string) drivers.Line {
	t.Helper()
	e, err := line.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	return e.Line("l")
}

func linkOf(t *testing.T, url string, devices ...drivers.Device) drivers.Link {
	t.Helper()
	l, err := builtIn.Link(lineOf(t, url), devices)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Two models on one real serial line, which is unplugged and comes back under its name.
func TestSerialLineComesBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	meter, gate := device(t, "eastron-sdm630", slave.Options{}), device(t, "came-gard-ptx", slave.Options{})
	set(t, meter, "ac_voltage_l1", catalogue.Number(230.5))
	set(t, gate, "state", catalogue.Words("closed"))
	b := newBus(t, map[byte]slave.Answerer{1: meter, 2: gate})
	defer b.unplug()
	url := "serial://" + b.name + "?baud=115200&parity=even"
	link := linkOf(t, url, drivers.Device{ID: "meter", Model: "eastron-sdm630", Unit: 1, Every: 200 * time.Millisecond},
		drivers.Device{ID: "gate", Model: "came-gard-ptx", Unit: 2, Every: 200 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	meters, gates := make(chan drivers.Report, 1000), make(chan drivers.Report, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		open(ctx, t, url, link,
			func(r drivers.Report) { map[string]chan drivers.Report{"meter": meters, "gate": gates}[r.Device] <- r })
	}()
	good := func(what string) {
		t.Helper()
		for n := 0; n < 6; {
			select {
			case r := <-meters:
				if r.Err == nil && value(r, "ac_voltage_l1") == "230.5" {
					n++
				}
			case r := <-gates:
				if r.Err == nil && value(r, "state") == "closed" {
					n++
				}
			case <-ctx.Done():
				t.Fatalf("%s: no more readings", what)
			}
		}
	}
	good("at first")
	b.unplug()
	for len(meters) > 0 || len(gates) > 0 {
		select {
		case <-meters:
		case <-gates:
		}
	}
	time.Sleep(300 * time.Millisecond)
	b.plug()
	good("after it came back")
	cancel()
	<-done
}

// A TCP device that closes the connection after each reply, and one behind a serial server.
func TestSocketsComeBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	d := device(t, "sunspec", slave.Options{})
	set(t, d, "ac_power", catalogue.Number(4321))
	for _, scheme := range []string{"tcp", "rtu+tcp"} {
		t.Run(scheme, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			accepted := make(chan struct{})
			go func() {
				defer close(accepted)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					short, end := context.WithTimeout(ctx, 300*time.Millisecond)
					units := map[byte]slave.Answerer{1: d}
					if scheme == "tcp" {
						err = slave.ServeTCP(short, c, units)
					} else {
						err = slave.ServeRTU(short, c, units, slave.RTU{})
					}
					if err != nil {
						t.Errorf("serve: %v", err)
					}
					end()
					c.Close()
				}
			}()
			url := scheme + "://" + l.Addr().String()
			link := linkOf(t, url, drivers.Device{ID: "d", Model: "sunspec", Unit: 1, Every: 100 * time.Millisecond})
			n := 0
			open(ctx, t, url, link, func(r drivers.Report) {
				if r.Err == nil && value(r, "ac_power") == "4321" {
					if n++; n == 12 {
						cancel()
					}
				}
			})
			if n < 12 {
				t.Errorf("only %d good polls", n)
			}
			l.Close()
			<-accepted
		})
	}
}
