//go:build e2e

package main_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bordo/agent"
	"bordo/drivers"
	"bordo/drivers/modbus/slave"
)

// socketDevice is a device of a model behind a loopback port, which can be taken out for another one.
type socketDevice struct {
	addr string

	mu     sync.Mutex
	device slave.Answerer
	conns  []net.Conn
}

func newSocketDevice(t *testing.T, model, serial string) *socketDevice {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &socketDevice{addr: l.Addr().String()}
	d.put(t, model, serial)
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { l.Close() }) //nolint:errcheck // the test is over
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns = append(d.conns, conn)
			d.mu.Unlock()
			units := map[byte]slave.Answerer{1: d}
			serving.Go(func() {
				defer conn.Close()                       //nolint:errcheck // over
				slave.ServeTCP(t.Context(), conn, units) //nolint:errcheck // seen by who asks
			})
		}
	})
	return d
}

// put takes the device out, if there is one, and puts another one in its place.
func (d *socketDevice) put(t *testing.T, model, serial string) {
	t.Helper()
	d.swap(t, model, serial)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		c.Close() //nolint:errcheck // it was unplugged
	}
	d.conns = nil
}

// swap puts another device behind the same connection.
func (d *socketDevice) swap(t *testing.T, model, serial string) {
	t.Helper()
	device, err := slave.Named(model, slave.Options{Identity: drivers.Description{Maker: "Altra Marca", Model: "AM-20K",
		Serial: serial}})
	if err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.device = device
}

// Answer implements slave.Answerer.
func (d *socketDevice) Answer(pdu []byte) []byte {
	d.mu.Lock()
	device := d.device
	d.mu.Unlock()
	return device.Answer(pdu)
}

// Another serial number answers: the installer sees it, confirms it once, and the confirmation outlives a restart.
func TestConfirm(t *testing.T) {
	plant := newSocketDevice(t, "sunspec", "SN-OLD-1")
	config := configured(t, fmt.Sprintf("lines:\n  - id: roof\n    port: tcp://%s\n    devices: [{id: inv-1, model: sunspec, unit: 1, every: 1s}]\n", plant.addr))
	refused := func(code int, want string, args ...string) {
		t.Helper()
		out, errs, got := bordo(t, append([]string{"confirm", "--config", config, "--lang", "en"}, args...)...)
		if got != code || out != "" || !strings.Contains(errs, want) {
			t.Errorf("confirm %v: exit code %d, %q %q; want %d, %q", args, got, out, errs, code, want)
		}
	}
	refused(1, "the agent does not run: nobody answers at ", "inv-1")

	a := runAgent(t, config)
	serial := func(want string) {
		t.Helper()
		waitFor(t, config, func(d map[string]agent.DeviceStatus) bool {
			return d["inv-1"].Info != nil && d["inv-1"].Info.Serial == want
		})
	}
	serial("SN-OLD-1")
	refused(2, "which device?")
	refused(2, `no device "inv-2"`, "inv-2")
	refused(1, "inv-1: nothing to confirm: the serial number that is known answers, SN-OLD-1", "inv-1")

	plant.put(t, "sunspec", "SN-NEW-2")
	serial("SN-NEW-2")
	if s := must(t, "status", "--config", config); !strings.Contains(s, "SN-OLD-1 was known, SN-NEW-2 answers") ||
		!strings.Contains(s, "bordo confirm") {
		t.Errorf("the status does not tell of the exchange:\n%s", s)
	}
	refused(1, "inv-1: nothing was confirmed: final reading of import_energy: the device has no such counter", "inv-1",
		"--final", "import_energy=1")
	refused(2, "must be point=kWh", "inv-1", "--final", "ac_power=1")
	out := must(t, "confirm", "inv-1", "--config", config, "--lang", "it", "--final", "unknown")
	if want := "inv-1: confermata la matricola SN-NEW-2 al posto di SN-OLD-1; l'energia viene conteggiata dalla sua prima lettura\n"; out != want {
		t.Errorf("said %q, want %q", out, want)
	}
	refused(1, "the serial number that is known answers, SN-NEW-2", "inv-1")

	plant.swap(t, "sunspec", "SN-THIRD-3") // the connection stays: nobody notices, but whoever confirms reads it
	out = must(t, "confirm", "inv-1", "--config", config, "--lang", "en", "--final", "unknown")
	if want := "inv-1: confirmed serial number SN-THIRD-3 in place of SN-NEW-2; energy is booked from its first reading on\n"; out != want {
		t.Errorf("said %q, want %q", out, want)
	}

	a.Stop(syscall.SIGKILL) // at once: nothing but the confirmation itself can have been written
	runAgent(t, config)
	waitFor(t, config, func(d map[string]agent.DeviceStatus) bool {
		return d["inv-1"].Polls > 1 && d["inv-1"].Info != nil && d["inv-1"].Info.Serial == "SN-THIRD-3"
	})
	if s := must(t, "status", "--config", config); strings.Contains(s, "SN-NEW-2") {
		t.Errorf("after a restart the exchange is open again:\n%s", s)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(config), "store", "energy*")); err != nil ||
		len(left) == 0 {
		t.Errorf("the accounts were not kept: %v, %v", left, err)
	}
}
