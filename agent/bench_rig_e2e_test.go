//go:build e2e

package agent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bordo/contract/foreign"
	"bordo/drivers/modbus/slave"
)

// The workload: so many Modbus TCP devices, each behind an address of its own, of so many float32 each, every second.
const (
	benchDevices = 50
	benchPoints  = 20
)

// benchKeys are the twenty numbers of a three-phase meter, benchScale the resolution in which each is counted: tenths of a
// volt, hundredths of an ampere.
func benchKeys() []string {
	return strings.Fields(`ac_power ac_power_l1 ac_power_l2 ac_power_l3 ac_voltage_l1 ac_voltage_l2 ac_voltage_l3
		ac_current_l1 ac_current_l2 ac_current_l3 frequency power_factor reactive_power apparent_power import_energy export_energy
		reactive_import_energy reactive_export_energy ac_current temperature`)
}

func benchScale() []float64 {
	return []float64{1, 1, 1, 1, 10, 10, 10, 100, 100, 100, 100, 1000, 1, 1, 100, 100, 100, 100, 100, 10}
}

// benchWalk lets the numbers of one device wander.
type benchWalk struct {
	rng  *rand.Rand
	keys []string
	at   []float64
}

func newBenchWalk(device int) *benchWalk {
	w := &benchWalk{rng: rand.New(rand.NewPCG(1, uint64(device))), keys: benchKeys(), at: make([]float64, benchPoints)}
	for i := range w.at {
		w.at[i] = float64(2000 + 100*(device%10) + 10*i)
	}
	return w
}

// step gives the next value of each point.
func (w *benchWalk) step() []float32 {
	out := make([]float32, benchPoints)
	for i, scale := range benchScale() {
		by := math.Round(w.rng.NormFloat64() * 8)
		if strings.HasSuffix(w.keys[i], "_energy") { // a counter
			by = float64(w.rng.IntN(2))
		}
		w.at[i] += by
		out[i] = float32(w.at[i] / scale)
	}
	return out
}

// Answer implements slave.Answerer: any read of holding registers gets the next values.
func (w *benchWalk) Answer(pdu []byte) []byte {
	n := int(binary.BigEndian.Uint16(pdu[3:]))
	out := make([]byte, 2+2*n)
	out[0], out[1] = 3, byte(2*n)
	for i, v := range w.step()[:min(n/2, benchPoints)] {
		binary.BigEndian.PutUint32(out[2+4*i:], math.Float32bits(v))
	}
	return out
}

// benchPlant serves the devices on loopback ports of their own, in this process, until the benchmark ends.
func benchPlant(b *testing.B) (addrs []string) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	b.Cleanup(serving.Wait)
	b.Cleanup(cancel)
	for d := range benchDevices {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { l.Close() }) //nolint:errcheck // the benchmark is over
		addrs = append(addrs, l.Addr().String())
		walk := newBenchWalk(d)
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Go(func() {
					defer c.Close()                                          //nolint:errcheck // nothing to save
					slave.ServeTCP(ctx, c, map[byte]slave.Answerer{1: walk}) //nolint:errcheck // the agent notices
				})
			}
		})
	}
	return addrs
}

// benchNode writes a node's directory: configuration and the meter's profile. It returns the path of the configuration.
func benchNode(b *testing.B, addrs []string, broker int, mqtt string) (dir, path string) {
	b.Helper()
	dir = b.TempDir()
	profile := "schema: 1\nmodel: bench-meter\ntitle: Bench\nkind: meter\nverified: paper\nlinks: [tcp]\nbus: baud=9600\nunit: {range: [1, 247]}\nevery: {default: 1s, least: 1s}\ntiming: {reply_max: 500ms, tcp_reply_max: 2s, reply_usual: 5ms}\npoints:\n"
	for i, k := range benchKeys() {
		profile += fmt.Sprintf("  - {point: %s, at: holding:%d, type: f32}\n", k, 2*i)
	}
	text := fmt.Sprintf(`version: 1
tenant: cremasco
node: quintano
clock: {trust: system}
control: {socket: %[1]s/b.sock}
profiles_dir: %[1]s/profiles
mqtt: {url: "mqtt://127.0.0.1:%[2]d"%[3]s}
buffer: {dir: %[1]s/state/buffer}
lines:
`, dir, broker, mqtt)
	for d, addr := range addrs {
		text += fmt.Sprintf("  - {id: line-%[1]d, port: \"tcp://%[2]s\", devices: [{id: %[3]s, model: bench-meter, unit: 1, every: 1s}]}\n", d, addr, benchDevice(d))
	}
	path = filepath.Join(dir, "bordo.yaml")
	if err := os.Mkdir(filepath.Join(dir, "profiles"), 0o700); err != nil {
		b.Fatal(err)
	}
	for name, content := range map[string]string{path: text,
		filepath.Join(dir, "profiles", "bench-meter.yaml"): profile} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return dir, path
}

func benchDevice(d int) string { return fmt.Sprintf("dev-%d", d) }

// benchProcess is a program under measurement. Its log goes to a file.
type benchProcess struct {
	*exec.Cmd
	done chan struct{}
	log  string
}

func benchStart(b *testing.B, name string, args ...string) *benchProcess {
	b.Helper()
	p := &benchProcess{Cmd: exec.Command(name, args...), done: make(chan struct{}),
		log: filepath.Join(b.TempDir(), "log")}
	log, err := os.Create(p.log)
	if err != nil {
		b.Fatal(err)
	}
	p.Stdout, p.Stderr = log, log
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.Start(); err != nil {
		b.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.Wait() //nolint:errcheck // how it ended is told by what it did
		log.Close()
		close(p.done)
	}()
	b.Cleanup(func() {
		p.stop(syscall.SIGKILL)
		if b.Failed() {
			text, _ := os.ReadFile(p.log)
			b.Logf("%s said:\n%s", filepath.Base(name), text[max(0, len(text)-4000):])
		}
	})
	return p
}

func (p *benchProcess) stop(sig syscall.Signal) {
	select {
	case <-p.done:
	default:
		p.Process.Signal(sig) //nolint:errcheck // it may have ended in between
		<-p.done
	}
}

// benchAgent builds the agent as it is shipped and starts it.
func benchAgent(b *testing.B, config string) *benchProcess {
	b.Helper()
	bin := filepath.Join(b.TempDir(), "bordo")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin,
		"bordo/cmd/bordo")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	return benchStart(b, bin, "run", "--config", config)
}

// cpu is the processor time that the process has used, as the kernel accounts it (proc(5): utime and stime, in ticks of 10 ms).
func (p *benchProcess) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // begins with field 3
	var ticks int64
	for _, i := range []int{14 - 3, 15 - 3} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory reads a line of /proc/PID/status: VmRSS, or VmHWM, the highest since the start. In MB (1e6 bytes).
func (p *benchProcess) memory(b *testing.B, key string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+key+":")
	kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kb * 1024 / 1e6
}

// newBenchBroker starts a mosquitto with a store of its own, so that what is queued for a subscriber outlives it.
func newBenchBroker(b *testing.B) *foreign.Mosquitto {
	b.Helper()
	m := foreign.NewMosquitto(b)
	m.Configure(b, m.Plain()+"persistence true\npersistence_location "+m.Dir+"/\nmax_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n")
	m.Up(b)
	return m
}
