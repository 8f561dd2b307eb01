//go:build e2e

package main_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bordo/agent"
	"bordo/contract"
	"bordo/contract/foreign"
)

// site writes a configuration whose devices are served by a Modbus program of another make.
func site(t *testing.T, m *foreign.Mosquitto, extra string) (config, dir string) {
	t.Helper()
	devices := start(t, foreign.Python, filepath.Join("testdata", "devices.py"))
	dir = t.TempDir()
	config = filepath.Join(dir, "bordo.yaml")
	text := fmt.Sprintf(`version: 1
tenant: cremasco
node: quintano
timezone: Europe/Rome
clock: {trust: system}
simulation: true
control: {socket: %[1]s/bordo.sock}
mqtt: {url: "mqtt://127.0.0.1:%[2]d", reconnect_max: 1s, reconnect_jitter: 0s, history_jitter: 0s}
buffer: {dir: %[1]s/buffer, max_size: 64MiB, sync: 1s}
lines:
  - id: roof
    port: tcp://127.0.0.1:%[3]s
    devices:
      - {id: inv-1, model: sunspec, unit: 1, every: 1s}
  - id: meters
    port: rtu+tcp://127.0.0.1:%[4]s?baud=115200
    devices:
      - {id: meter-1, model: eastron-sdm630, unit: 3, every: 1s, about: {pod: IT001E12345678, role: exchange}}
%[5]s`, dir, m.Port, devices.Line(t, "sunspec"), devices.Line(t, "sdm630"), extra)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config, dir
}

func runAgent(t *testing.T, config string) *foreign.Process {
	t.Helper()
	return start(t, filepath.Join(bin, "bordo"), "run", "--config", config)
}

// TestForeignDevicesToForeignBroker: devices, broker and subscriber are all of another make, and what the subscriber sees
// is what the devices hold.
func TestForeignDevicesToForeignBroker(t *testing.T) {
	m := newMosquitto(t)
	m.Up(t)
	sub := subscribe(t, m)
	config, _ := site(t, m, "")
	began := time.Now()
	a := runAgent(t, config)
	sub.until(t, "three samples of each device", func() bool {
		return len(sub.samples("inv-1")) >= 3 && len(sub.samples("meter-1")) >= 3
	})
	t.Logf("first sample at the subscriber %v after the start", sub.first.Sub(began).Round(time.Millisecond))

	// The numbers of testdata/devices.py, scaled by hand.
	compare(t, sub.samples("inv-1")[0], map[string]any{
		"ac_power": 9510.0, "ac_energy": 123456.789, "frequency": 49.98, "state": "producing", "temperature": 41.5,
		"ac_voltage_l1": 231.0, "ac_voltage_l2": 231.2, "ac_voltage_l3": 230.8, "ac_voltage_l1_l2": 400.2,
		"ac_current_l1": 13.7, "ac_current_l2": 13.8, "ac_current_l3": 13.7, "dc_power": 9712.0,
		"reactive_power": -310.0, "apparent_power": 9530.0, "power_factor": 0.998,
	})
	compare(t, sub.samples("meter-1")[0], map[string]any{
		"ac_power": 3790.75, "ac_power_l1": 1205.5, "ac_power_l2": 1030.25, "ac_power_l3": 1555.0,
		"ac_voltage_l1": 230.2, "ac_voltage_l2": 229.7, "ac_voltage_l3": 231.1,
		"ac_current_l1": 5.25, "ac_current_l2": 4.5, "ac_current_l3": 6.75, "frequency": 50.02,
		"import_energy": 10234.56, "export_energy": 987.65,
	})
	meta, err := contract.DecodeMeta(sub.last["bordo/v1/cremasco/quintano/meta/inv-1"])
	if err != nil {
		t.Fatal(err)
	}
	if meta.Maker != "Altra Marca" || meta.Model != "AM-20K" || meta.Serial != "SN000123" || meta.Firmware != "3.21" {
		t.Errorf("identity in meta: %+v", meta)
	}
	if p, ok := meta.Points.Point("ac_energy"); !ok || p.Unit != "kW.h" || p.Kind != "counter" {
		t.Errorf("ac_energy in meta: %+v", p)
	}
	meta, err = contract.DecodeMeta(sub.last["bordo/v1/cremasco/quintano/meta/meter-1"])
	if err != nil || meta.About["pod"] != "IT001E12345678" {
		t.Errorf("about in meta: %v, %v", meta.About, err)
	}
	st := sub.status(t, "quintano")
	if st.State != contract.Online || !st.Sim || st.Clk != contract.ClockSync {
		t.Errorf("status: %+v", st)
	}

	out, errs, code := bordo(t, "status", "--config", config, "--json")
	if code != 0 {
		t.Fatalf("bordo status: %d %s", code, errs)
	}
	own := decode[agent.Status](t, out)
	if !own.Broker.Connected || len(own.Lines) != 2 || !own.Lines[0].Open || own.Lines[1].Devices[0].Failures != 0 {
		t.Errorf("bordo status: %s", out)
	}

	stop := time.Now()
	a.Stop(syscall.SIGTERM)
	if d := time.Since(stop); d > promptly || a.ProcessState.ExitCode() != 0 {
		t.Errorf("stopped after %v with %v", d, a.ProcessState)
	}
	sub.until(t, "the goodbye", func() bool { return sub.status(t, "quintano").State == contract.Offline })
	sub.complete(t, own.Store.Epoch)
	if len(sub.doubled) > 0 {
		t.Errorf("came twice: %v", sub.doubled)
	}
	sub.sane(t)
}

func compare(t *testing.T, a arrival, want map[string]any) {
	t.Helper()
	for key, w := range want {
		got, ok := a.v[key]
		if !ok {
			t.Errorf("%s: no %s in %s", a.topic, key, a.raw)
			continue
		}
		if f, isNumber := w.(float64); isNumber {
			if g, ok := got.(float64); !ok || math.Abs(g-f) > 1e-9*math.Abs(f) {
				t.Errorf("%s: %s is %v, the device holds %v", a.topic, key, got, f)
			}
		} else if got != w {
			t.Errorf("%s: %s is %v, the device holds %v", a.topic, key, got, w)
		}
	}
}

// complete fails the test when an identity of the epoch, from 1 to the last that arrived, is missing.
func (s *subscriber) complete(t *testing.T, epoch string) {
	t.Helper()
	last := s.lastSeq(epoch)
	for seq := uint64(1); seq <= last; seq++ {
		if _, ok := s.arrived[fmt.Sprintf("%s-%d", epoch, seq)]; !ok {
			t.Errorf("%s-%d did not arrive, %d did", epoch, seq, last)
		}
	}
}

func (s *subscriber) lastSeq(epoch string) uint64 {
	var last uint64
	for id := range s.arrived {
		var seq uint64
		if _, err := fmt.Sscanf(strings.TrimPrefix(id, epoch+"-"), "%d", &seq); err == nil &&
			strings.HasPrefix(id, epoch) {
			last = max(last, seq)
		}
	}
	return last
}

// TestBrokerAway: the agent starts without its broker and with ports that do not exist, and a broker that goes away for
// half a minute costs nothing: every sample arrives once, the late ones as history.
func TestBrokerAway(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMosquitto(t)
	m.Up(t)
	sub := subscribe(t, m)
	m.Down()
	config, _ := site(t, m, fmt.Sprintf(`
  - id: nowhere
    port: tcp://127.0.0.1:%d
    devices: [{id: inv-2, model: sunspec, unit: 1, every: 1s}]
  - id: unplugged
    port: serial:///dev/pts/987654?baud=9600
    devices: [{id: meter-2, model: eastron-sdm630, unit: 1, every: 1s}]
`, foreign.FreePort(t)))
	a := runAgent(t, config)
	time.Sleep(4 * time.Second) // the outage is real time: the sockets are
	m.Up(t)
	sub.until(t, "samples from before the broker came", func() bool { return len(sub.samples("inv-1")) >= 6 })
	leaving := time.Now().UnixMilli()
	m.Down()
	left := time.Now().UnixMilli()
	time.Sleep(30 * time.Second)
	back := time.Now().UnixMilli()
	m.Up(t)
	sub.until(t, "fresh samples after the outage and an empty backlog", func() bool {
		fresh := 0
		for _, s := range sub.samples("inv-1") {
			if s.ts > back+3000 && strings.Contains(s.topic, "/tele/") {
				fresh++
			}
		}
		return fresh >= 2
	})
	out, errs, code := bordo(t, "status", "--config", config, "--json")
	if code != 0 {
		t.Fatalf("bordo status: %d %s", code, errs)
	}
	own := decode[agent.Status](t, out)
	for _, l := range own.Lines[2:] {
		if l.Open || l.Error == "" {
			t.Errorf("line %s is not shown as down: %+v", l.ID, l)
		}
	}
	a.Stop(syscall.SIGTERM)
	sub.until(t, "the goodbye", func() bool { return sub.status(t, "quintano").State == contract.Offline })

	sub.complete(t, own.Store.Epoch)
	for _, id := range sub.doubled { // the same bytes, and only what the broker took with it unacknowledged
		if ts := sub.arrived[id].ts; ts < leaving-10_000 || ts > left+1000 {
			t.Errorf("%s came twice and was not in flight when the broker went", id)
		}
	}
	for _, dev := range []string{"inv-1", "meter-1"} {
		n := 0
		for _, s := range sub.samples(dev) {
			if s.ts < left || s.ts > back-5000 { // what is younger than sync may still be fresh
				continue
			}
			n++
			if !strings.Contains(s.topic, "/hist/") {
				t.Errorf("a sample of %s from the outage came on %s", dev, s.topic)
			}
		}
		if n < 12 { // a busy machine polls less often
			t.Errorf("%d samples of %s from 25 s of the outage", n, dev)
		}
	}
	sub.sane(t)
}

// TestKill: the agent is killed while its broker is away. What was sealed arrives, what was cut off is under a gap, and no
// identity carries two payloads.
func TestKill(t *testing.T) {
	t.Parallel() // it mostly waits
	m := newMosquitto(t)
	m.Up(t)
	sub := subscribe(t, m)
	config, _ := site(t, m, "")
	first := runAgent(t, config)
	sub.until(t, "a first sample", func() bool { return len(sub.samples("inv-1")) >= 1 })
	m.Down()
	away := time.Now().UnixMilli()
	time.Sleep(10 * time.Second)
	out, errs, code := bordo(t, "status", "--config", config, "--json")
	if code != 0 {
		t.Fatalf("bordo status: %d %s", code, errs)
	}
	was := decode[agent.Status](t, out)
	first.Stop(syscall.SIGKILL)
	killed := time.Now().UnixMilli()
	second := runAgent(t, config)
	m.Up(t)
	sub.until(t, "the gap of the first run and samples of the second", func() bool {
		_, ok := gapOf(sub, was.Store.Epoch)
		return ok && fresh(sub, killed) >= 4
	})
	second.Stop(syscall.SIGTERM)
	sub.until(t, "the goodbye", func() bool { return sub.status(t, "quintano").State == contract.Offline })

	gap, _ := gapOf(sub, was.Store.Epoch)
	if gap.Why != "unclean" || gap.To != nil || gap.From == 0 || gap.From > was.Store.Next {
		t.Errorf("gap after the kill: %+v, next was %d", gap, was.Store.Next)
	}
	for seq := uint64(1); seq < gap.From; seq++ {
		if _, ok := sub.arrived[fmt.Sprintf("%s-%d", was.Store.Epoch, seq)]; !ok {
			t.Errorf("%s-%d neither arrived nor is under the gap from %d", was.Store.Epoch, seq, gap.From)
		}
	}
	// Sealed a second after it was got; the tick that does it may come a second later, and a commit takes its time.
	sealed := 0
	for _, s := range sub.samples("meter-1") {
		if s.ts >= away && s.ts <= killed-3000 {
			sealed++
		}
	}
	if sealed < 3 { // a busy machine polls less often, and seals later
		t.Errorf("%d of about 7 sealed samples arrived", sealed)
	}
	if opened := openedAfter(sub, was.Store.Epoch); opened.Clean || opened.Prev != was.Store.Epoch {
		t.Errorf("opened event of the second run: %+v", opened)
	}
	sub.sane(t)
}

type gapData struct {
	Ep   string  `json:"ep"`
	From uint64  `json:"from"`
	To   *uint64 `json:"to"`
	Why  string  `json:"why"`
}

func gapOf(s *subscriber, epoch string) (gapData, bool) {
	for _, e := range s.events {
		if e.Type != contract.StoreGap {
			continue
		}
		var g gapData
		if err := unmarshal(e.Data, &g); err == nil && g.Ep == epoch {
			return g, true
		}
	}
	return gapData{}, false
}

type openedData struct {
	Prev  string `json:"prev_ep"`
	Clean bool   `json:"clean"`
}

func openedAfter(s *subscriber, epoch string) openedData {
	for _, e := range s.events {
		var o openedData
		if e.Type == contract.StoreOpened && e.Ep != epoch && unmarshal(e.Data, &o) == nil {
			return o
		}
	}
	return openedData{}
}

func fresh(s *subscriber, since int64) int {
	n := 0
	for _, a := range s.arrived {
		if a.v != nil && a.ts > since {
			n++
		}
	}
	return n
}
