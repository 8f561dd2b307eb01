//go:build e2e

package sim

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/crc16"
)

// patience is how long a busy machine may take for what takes no time elsewhere.
const patience = 30 * time.Second

// serve serves the demo until the test ends, and makes sure that nothing is left of it.
func serve(t *testing.T, s *Scenario) *Server {
	t.Helper()
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	v, err := Serve(ctx, s, ServeOptions{Dir: dir, Seed: 1, Broker: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		start := time.Now()
		if err := v.Wait(); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > patience {
			t.Errorf("took %s to end", d)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		goleak.VerifyNone(t, before)
	})
	return v
}

// A line that is opened again at once is a line on which the device has just answered: whoever asks next leaves it the pause
// that it wants, and finds nothing of those before on the line.
func TestLineOpenedAgainLosesNothing(t *testing.T) {
	v := serve(t, mustLoad(t, "demo"))
	var e line.Endpoint
	for _, p := range v.Endpoints {
		if p.Line == "rs485-a" {
			var err error
			if e, err = line.Parse(p.URL); err != nil {
				t.Fatal(err)
			}
		}
	}
	meter, err := modbus.Named("eastron-sdm630")
	if err != nil {
		t.Fatal(err)
	}
	volts := modbus.Span{Table: modbus.Input, First: 0, Count: 2}
	ask := []byte{3, 4, 0, 0, 0, 2}
	for i := range 20 {
		if i%5 == 4 { // somebody leaves without waiting for the answer
			abandon(t, e, crc16.Append(ask))
		}
		port, err := line.Open(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		s := modbus.NewSession(e.Line("rs485-a"), port, meter.Timing)
		if i%5 == 4 {
			if heard, err := s.Listen(t.Context(), 100*time.Millisecond); len(heard) > 0 || err != nil {
				t.Errorf("opening %d: heard % x (%v) of an answer to somebody else", i+1, heard, err)
			}
		}
		a, err := s.Read(t.Context(), 3, volts)
		if err != nil || len(a.Data) != 4 {
			t.Errorf("opening %d: % x, %v", i+1, a.Data, err)
		}
		if err := port.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// abandon asks and closes the port at once; it returns when the answer lies in the terminal.
func abandon(t *testing.T, e line.Endpoint, request []byte) {
	t.Helper()
	watch, err := unix.Open(e.Path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch) //nolint:errcheck // nothing to save
	// The pause that the device wants, then the request; its answer has nine bytes.
	fds := []unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}}
	for try := 0; ; try++ {
		if _, err := unix.Write(watch, request); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Poll(fds, 500); n == 1 {
			return
		} else if try == 10 {
			t.Fatalf("no answer to abandon (%v)", err)
		}
	}
}

// mbpoll reads with libmodbus, which is not ours, and returns what it prints: value by register.
func mbpoll(t *testing.T, v *Server, lineID string, args ...string) map[int]float64 {
	t.Helper()
	for _, e := range v.Endpoints {
		if e.Line != lineID {
			continue
		}
		port, err := line.Parse(e.URL)
		if err != nil {
			t.Fatal(err)
		}
		all := append([]string{"-1", "-0", "-q", "-a", strconv.Itoa(e.Devices[0].Unit)}, args...)
		if port.Scheme == line.Serial {
			all = append(all, "-m", "rtu", "-b", strconv.Itoa(port.Baud), "-P", string(port.Parity), port.Path)
		} else {
			host, number, err := net.SplitHostPort(port.Host)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, "-m", "tcp", "-p", number, host)
		}
		out, err := exec.Command("mbpoll", all...).CombinedOutput()
		for range 2 { // a device that wants a pause is silent when asked again too soon
			if err != nil {
				out, err = exec.Command("mbpoll", all...).CombinedOutput()
			}
		}
		if err != nil {
			t.Fatalf("mbpoll %s: %v\n%s", strings.Join(all, " "), err, out)
		}
		values := map[int]float64{}
		for _, m := range regexp.MustCompile(`(?m)^\[(\d+)\]:\s+(\S+)`).FindAllStringSubmatch(string(out), -1) {
			at, _ := strconv.Atoi(m[1])
			value, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				t.Fatalf("mbpoll printed %q", m[0])
			}
			values[at] = value
		}
		return values
	}
	t.Fatalf("no line %s", lineID)
	return nil
}

// truth0 gives what a point held since a time, as numbers.
func truth0(t *testing.T, v *Server, dev, point string, since time.Time) []float64 {
	t.Helper()
	held, ok := v.Site.Truth(dev, point, since, time.Now())
	if !ok {
		t.Fatalf("%s %s: nothing is known", dev, point)
	}
	var out []float64
	for _, x := range held {
		out = append(out, x.Float())
	}
	return out
}

func check(t *testing.T, what string, got float64, held []float64, scale float64) {
	t.Helper()
	for _, h := range held {
		if math.Abs(got*scale-h) <= 1e-5*math.Abs(h)+1e-9 {
			return
		}
	}
	t.Errorf("%s: libmodbus read %v, the registers held %v", what, got*scale, held)
}

// Only a master with the speed and the parity of the line gets an answer, as on a real one, whether it is libmodbus or ours;
// the number of stop bits does not matter.
func TestServedLinesHaveSettings(t *testing.T) {
	scenario := mustLoad(t, "demo")
	scenario.Lines[1].Port = "serial:///dev/sim/rs485-a?baud=19200&parity=even"
	scenario.Lines[2].Port = "serial:///dev/sim/arm?baud=38400&parity=odd"
	v := serve(t, scenario)
	for _, c := range []struct {
		line  string
		unit  byte
		right string
		wrong []string
	}{
		{"rs485-a", 3, "baud=19200&parity=even&stop=2",
			[]string{"baud=9600&parity=even", "baud=19200", "baud=19200&parity=odd"}},
		{"arm", 1, "baud=38400&parity=odd", []string{"baud=57600&parity=odd", "baud=38400", "baud=38400&parity=even"}},
	} {
		for _, settings := range append(c.wrong, c.right) {
			e, err := line.Parse("serial://" + filepath.Join(v.dir, c.line) + "?" + settings)
			if err != nil {
				t.Fatal(err)
			}
			answer := askOnce(t, e, c.unit)
			if heard := len(answer) > 0; heard != (settings == c.right) {
				t.Errorf("%s opened with %s: answer % X", c.line, settings, answer)
			}
			args := []string{"-1", "-0", "-q", "-m", "rtu", "-a", strconv.Itoa(int(c.unit)), "-t", "3", "-r", "0", "-c",
				"1", "-o", "0.4",
				"-b", strconv.Itoa(e.Baud), "-P", string(e.Parity), "-s", strconv.Itoa(e.Stop), e.Path}
			time.Sleep(devicePause)
			out, _ := exec.Command("mbpoll", args...).CombinedOutput()
			if silent := strings.Contains(string(out), "timed out"); silent == (settings == c.right) {
				t.Errorf("mbpoll on %s with %s:\n%s", c.line, settings, out)
			}
		}
	}
}

// devicePause is the pause that a device wants after its last answer.
const devicePause = 200 * time.Millisecond

// askOnce asks a unit for an input register and returns what comes back within the time that a device takes.
func askOnce(t *testing.T, e line.Endpoint, unit byte) []byte {
	t.Helper()
	p, err := line.Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // nothing to save
	time.Sleep(devicePause)
	request := []byte{unit, 4, 0, 0, 0, 1}
	if _, err := p.Write(crc16.Append(request)); err != nil {
		t.Fatal(err)
	}
	p.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // an open port takes it
	b := make([]byte, 256)
	n, _ := p.Read(b)
	return b[:n]
}

// The addresses and scales here are written down by hand from the makers' documents, not taken from the profiles.
func TestLibmodbusReadsTheSite(t *testing.T) {
	v := serve(t, mustLoad(t, "demo"))
	start := time.Now()

	sunspec := mbpoll(t, v, "roof", "-r", "40070", "-c", "52")
	if sunspec[40070] != 103 || sunspec[40071] != 50 {
		t.Errorf("model %v of length %v, want 103 of 50", sunspec[40070], sunspec[40071])
	}
	ten := func(at int) float64 { return math.Pow(10, sunspec[at]) }
	check(t, "inv-1 ac_power", sunspec[40084], truth0(t, v, "inv-1", "ac_power", start), ten(40085))
	check(t, "inv-1 frequency", sunspec[40086], truth0(t, v, "inv-1", "frequency", start),
		math.Pow(10, sunspec[40087]-65536))

	meter := mbpoll(t, v, "rs485-a", "-t", "3:float", "-B", "-r", "72", "-c", "2")
	check(t, "meter-1 import_energy", meter[72], truth0(t, v, "meter-1", "import_energy", start), 1)
	check(t, "meter-1 export_energy", meter[74], truth0(t, v, "meter-1", "export_energy", start), 1)
	power := mbpoll(t, v, "rs485-a", "-t", "3:float", "-B", "-r", "52", "-c", "1")
	check(t, "meter-1 ac_power", power[52], truth0(t, v, "meter-1", "ac_power", start), 1)

	barrier := mbpoll(t, v, "arm", "-t", "4", "-r", "100", "-c", "10")
	if s := barrier[100]; s != 16 && s != 17 && s != 32 && s != 33 {
		t.Errorf("gate status %v, want open, closed, opening or closing", s)
	}
	check(t, "barrier-1 cycles", barrier[104]+65536*barrier[105], truth0(t, v, "barrier-1", "cycles", start), 1)
}

// A coil that libmodbus writes moves the arm.
func TestLibmodbusOpensTheBarrier(t *testing.T) {
	scenario := mustLoad(t, "demo")
	scenario.Lines[2].Devices[0].Barrier.Traffic = 0
	v := serve(t, scenario)
	if s := mbpoll(t, v, "arm", "-t", "4", "-r", "100", "-c", "1")[100]; s != 17 {
		t.Fatalf("gate status %v, want 17: closed", s)
	}
	path := filepath.Join(v.dir, "arm")
	out, err := exec.Command("mbpoll", "-0", "-q", "-m", "rtu", "-a", "1", "-b", "38400", "-P", "even", "-t", "0", "-r",
		"1", path, "1").CombinedOutput()
	if err != nil {
		t.Fatalf("write coil 1: %v\n%s", err, out)
	}
	if s := mbpoll(t, v, "arm", "-t", "4", "-r", "100", "-c", "1")[100]; s != 32 {
		t.Errorf("gate status %v after OPEN, want 32: opening", s)
	}
}

// A cable that is pulled hangs up on the client and comes back under the same name.
func TestALineThatIsGoneComesBack(t *testing.T) {
	v := serve(t, mustLoad(t, "demo"))
	path := filepath.Join(v.dir, "rs485-a")
	client, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // nothing to save
	id, err := v.Site.Raise("rs485-a", Fault{Kind: Gone})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from a line that is gone", n)
	}
	wait(t, "the terminal goes", func() bool { _, err := os.Stat(path); return err != nil })
	wait(t, "the line is still seen to be simulated", func() bool {
		e, err := line.Parse("serial://" + path)
		return err == nil && e.Simulated()
	})
	if n, err := v.Site.Clear("rs485-a", id); n != 1 || err != nil {
		t.Errorf("cleared %d, %v", n, err)
	}
	wait(t, "the terminal comes back", func() bool { _, err := os.Stat(path); return err == nil })
	if got := mbpoll(t, v, "rs485-a", "-t", "3:float", "-B", "-r", "70", "-c", "1")[70]; got < 49 || got > 51 {
		t.Errorf("frequency %v after the line came back", got)
	}
}

// A terminal that is closed twice leaves the link of the one that has got its name meanwhile.
func TestATerminalIsClosedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "line")
	before, err := openTerminal(path)
	if err != nil {
		t.Fatal(err)
	}
	name := before.line.Name()
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	for range 64 { // others may take its number first
		next, err := openTerminal(path)
		if err != nil {
			t.Fatal(err)
		}
		defer next.Close() //nolint:errcheck // nothing to save
		if next.line.Name() != name {
			continue
		}
		before.Close() //nolint:errcheck // told before
		if _, err := os.Lstat(path); err != nil {
			t.Error("the link is gone: ", err)
		}
		return
	}
	t.Fatalf("nobody was given %s again", name)
}

// wait waits, in real time, for what another goroutine of this process is about to do.
func wait(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(fmt.Errorf("did not happen: %s", what))
		}
	}
}

// A site that ends while a cable is pulled leaves nothing behind either: serve looks.
func TestALineIsGoneAtTheEnd(t *testing.T) {
	v := serve(t, mustLoad(t, "demo"))
	if _, err := v.Site.Raise("rs485-a", Fault{Kind: Gone}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the terminal goes", func() bool { _, err := os.Stat(filepath.Join(v.dir, "rs485-a")); return err != nil })
}
