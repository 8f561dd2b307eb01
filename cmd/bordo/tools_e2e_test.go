//go:build e2e

package main_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bordo/agent"
	"bordo/contract/foreign"
)

const aHead = "version: 1\ntenant: cremasco\nnode: quintano\nsite: {lat: 45.4, lon: 9.6}\nclock: {trust: system}\nmqtt: {url: mqtt://127.0.0.1:1}\nbuffer: {dir: DIR/store/buffer}\ncontrol: {socket: DIR/b.sock}\n"

// configured writes a configuration of a node of which the lines are given.
func configured(t *testing.T, lines string) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bordo-tools-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // a temporary directory
	path = filepath.Join(dir, "bordo.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(aHead, "DIR", dir)+lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A scan finds devices of another make, and what it proposes is a configuration.
func TestScanOfForeignDevices(t *testing.T) {
	t.Parallel() // it mostly waits
	devices := start(t, foreign.Python, filepath.Join("testdata", "devices.py"))
	at := "127.0.0.1:" + devices.Line(t, "sunspec")
	none := configured(t, "lines: []\n")
	stdout, stderr, code := bordo(t, "scan", "tcp", at, "--config", none, "--lang", "en")
	if code != 0 || !strings.Contains(stderr, "+ "+at+", number 1: SunSpec") ||
		!strings.Contains(stderr, "Altra Marca AM-20K, serial SN000123") {
		t.Fatalf("exit code %d, said\n%s", code, stderr)
	}
	config := configured(t, stdout)
	if out, said, code := bordo(t, "check", "--config", config); code != 0 ||
		!strings.Contains(out, "correct: 1 line, 1 device") || said != "" {
		t.Errorf("exit code %d: %s%s for\n%s", code, out, said, stdout)
	}
	r := decode[struct {
		Values []agent.PointStatus
		Info   agent.DeviceIdentity
	}](t, must(t, "read", "inv-1", "--config", config, "--json"))
	values := map[string]any{}
	for _, v := range r.Values {
		values[v.Point] = v.Value
	}
	if r.Info.Serial != "SN000123" || values["ac_power"] != 9510.0 || values["frequency"] != 49.98 ||
		values["ac_energy"] != 123456.789 {
		t.Errorf("read %+v", r)
	}

	meter := "rtu+tcp://127.0.0.1:" + devices.Line(t, "sdm630")
	raw := must(t, "read", "--raw", meter, "--unit", "3", "--input", "0x46", "--count", "2", "--config", none)
	if !strings.Contains(raw, "\n   70  4248  16968         BH   1112020091      50.02 ") {
		t.Errorf("read\n%s", raw)
	}
	_, stderr, code = bordo(t, "read", "--raw", meter, "--unit", "4", "--input", "0", "--config", none)
	if code != 1 || !strings.Contains(stderr, "no answer within 3s") {
		t.Errorf("a unit that is not there: exit code %d, %s", code, stderr)
	}
}

// must runs a command that has to work.
func must(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := bordo(t, args...)
	if code != 0 {
		t.Fatalf("bordo %v: exit code %d\n%s", args, code, stderr)
	}
	return stdout
}

// simulated serves the scenario of the demo and returns the agent's configuration for it.
func simulated(t *testing.T) (config string) {
	t.Helper()
	dir := t.TempDir()
	site := start(t, filepath.Join(bin, "bordo-sim"), "serve", "demo", "--dir", dir)
	site.Line(t, "configuration for the agent:")
	return filepath.Join(dir, "bordo.yaml")
}

// statusOf asks the running agent, and returns its devices by id.
func statusOf(t *testing.T, config string) map[string]agent.DeviceStatus {
	t.Helper()
	s := decode[agent.Status](t, must(t, "status", "--config", config, "--json"))
	devices := map[string]agent.DeviceStatus{}
	for _, l := range s.Lines {
		if !l.Open {
			t.Errorf("line %s is not open: %s", l.ID, l.Error)
		}
		for _, d := range l.Devices {
			devices[d.ID] = d
		}
	}
	return devices
}

// Everything that the tools do with a line of the running agent goes through it, and its polls go on.
func TestToolsThroughTheRunningAgent(t *testing.T) {
	config := simulated(t)
	a := start(t, filepath.Join(bin, "bordo"), "run", "--config", config, "--log-level", "debug")
	waitFor(t, config, func(d map[string]agent.DeviceStatus) bool {
		return d["inv-1"].Polls > 1 && d["meter-1"].Polls > 1 && d["barrier-1"].Polls > 1
	})
	before, began := statusOf(t, config), time.Now()
	port := func(id string) string {
		s := decode[agent.Status](t, must(t, "status", "--config", config, "--json"))
		for _, l := range s.Lines {
			if l.ID == id {
				return l.Port
			}
		}
		t.Fatalf("no line %s", id)
		return ""
	}
	for _, device := range []string{"inv-1", "meter-1", "barrier-1"} {
		if out := must(t, "read", device, "--config", config); !strings.HasPrefix(out, device+", ") ||
			!strings.Contains(out, "serial ") {
			t.Errorf("read %s\n%s", device, out)
		}
	}
	if out := must(t, "read", "--raw", port("roof"), "--holding", "40000", "--count", "2", "--config",
		config); !strings.Contains(out, `text  "SunS"`) {
		t.Errorf("read\n%s", out)
	}
	tty, _, _ := strings.Cut(strings.TrimPrefix(port("rs485-a"), "serial://"), "?")
	out, said, code := bordo(t, "scan", "serial", tty, "--units", "1-8", "--config", config, "--lang", "it")
	if code != 0 || out != "" || !strings.Contains(said, "dell'agente in funzione, che ha già 3 = meter-1") ||
		!strings.Contains(said, "nessun altro dispositivo") {
		t.Errorf("exit code %d, printed %s%s", code, out, said)
	}
	captured := must(t, "capture", "barrier-1", "--config", config)
	if !strings.Contains(captured, "\norigin: capture\n") || !strings.Contains(captured, "\nserial 0000000") {
		t.Errorf("captured\n%s", captured)
	}
	after, took := statusOf(t, config), time.Since(began)
	for id, d := range after {
		every, err := time.ParseDuration(d.Every)
		if err != nil {
			t.Fatal(err)
		}
		polls := d.Polls - before[id].Polls
		if least := uint64(took/every) / 4; d.Failures != before[id].Failures || polls < least {
			t.Errorf("%s: %d polls in %v (want %d), %d failures: %s", id, polls, took, least, d.Failures, d.Error)
		}
	}
	for _, l := range a.Stderr() {
		if strings.Contains(l, "port lost") {
			t.Errorf("a port was lost: %s", l)
		}
	}
	_, said, code = bordo(t, "read", "nobody", "--config", config)
	if code != 2 || !strings.Contains(said, `no device "nobody"`) {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// waitFor asks the agent until its devices are as wanted.
func waitFor(t *testing.T, config string, ok func(map[string]agent.DeviceStatus) bool) {
	t.Helper()
	for over := time.Now().Add(patience); time.Now().Before(over); time.Sleep(200 * time.Millisecond) {
		stdout, _, code := bordo(t, "status", "--config", config, "--json")
		if code == 0 {
			devices := map[string]agent.DeviceStatus{}
			for _, l := range decode[agent.Status](t, stdout).Lines {
				for _, d := range l.Devices {
					devices[d.ID] = d
				}
			}
			if ok(devices) {
				return
			}
		}
	}
	t.Fatal("the agent does not get there")
}

// Ctrl-C ends a scan at once, the running agent's too, and what was found is printed.
func TestScanIsStopped(t *testing.T) {
	config := simulated(t)
	start(t, filepath.Join(bin, "bordo"), "run", "--config", config)
	waitFor(t, config, func(d map[string]agent.DeviceStatus) bool { return d["meter-1"].Polls > 0 })
	tty := filepath.Join(filepath.Dir(config), "rs485-a")
	s := start(t, filepath.Join(bin, "bordo"), "scan", "serial", tty, "--config", config, "--json")
	s.Line(t, `{"progress":{"done":2,`)
	began := time.Now()
	s.Stop(syscall.SIGINT)
	if took := time.Since(began); took > promptly || s.ProcessState.ExitCode() != 1 {
		t.Errorf("ended after %v with exit code %d", took, s.ProcessState.ExitCode())
	}
	polls := statusOf(t, config)["meter-1"].Polls
	waitFor(t, config, func(d map[string]agent.DeviceStatus) bool {
		return d["meter-1"].Polls > polls+1 && d["meter-1"].Failures == 0
	})
}

// What was captured is served again by the simulator, and gives the same readings.
func TestCaptureIsReplayed(t *testing.T) {
	config := simulated(t)
	dir := t.TempDir()
	files := []string{}
	for _, device := range []string{"inv-1", "meter-1"} {
		file := filepath.Join(dir, device+".txtar")
		must(t, "capture", device, "--config", config, "-o", file)
		files = append(files, file)
	}
	sim := start(t, filepath.Join(bin, "bordo-sim"), append([]string{"replay"}, files...)...)
	for i, c := range []struct{ id, scheme, config string }{
		{"inv-1", "tcp", "lines:\n  - {id: l, port: PORT, devices: [{id: inv-1, model: sunspec, unit: 1}]}\n"},
		{"meter-1", "rtu+tcp", "lines:\n  - {id: l, port: PORT, devices: [{id: meter-1, model: eastron-sdm630, unit: 3}]}\n"},
	} {
		port, _, _ := strings.Cut(sim.Line(t, c.scheme+"://"), " ")
		out := decode[struct{ Values []agent.PointStatus }](t, must(t, "read", c.id, "--json", "--config",
			configured(t, strings.ReplaceAll(c.config, "PORT", c.scheme+"://"+port))))
		text, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		_, readings, _ := strings.Cut(string(text), "-- readings --\n")
		readings, _, _ = strings.Cut(readings, "-- identity --")
		if n := strings.Count(readings, "\n"); n != len(out.Values) || n < 10 {
			t.Errorf("%s: %d readings captured, %d replayed", c.id, n, len(out.Values))
		}
		for _, v := range out.Values {
			if x, ok := v.Value.(float64); ok &&
				!strings.Contains("\n"+readings, "\n"+v.Point+" "+plainNumber(x)+"\n") {
				t.Errorf("%s: %s is %v, captured\n%s", c.id, v.Point, x, readings)
			}
		}
	}
}

// plainNumber writes a number without an exponent.
func plainNumber(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
