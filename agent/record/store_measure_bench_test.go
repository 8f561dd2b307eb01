//go:build bench

package record

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/buffer"
	"bordo/buffer/loopdisk"
)

// measure is one measurement. It runs in a process of its own, so that memory is that of one store and a day can pass in
// a bubble.
type measure struct {
	Do      string // a key of scenarios
	Store   string // ours or plain
	Load    string // the name of a workload
	Dir     string // of the file system
	Device  string // under it
	MaxSize int64  // of the files; 0: the default of ours, no limit for plain
	History int64
	Rounds  int     // of polls
	Bytes   float64 // to be written, where not rounds are counted
	Down    bool    // the link is down
	One     bool    // one processor
	Collect int     // GOGC; 0: the runtime's own
	// Unsynced lets plain fill a store faster, where the filling is not what is measured.
	Unsynced bool

	t *testing.T
}

func (m measure) store() string { return filepath.Join(m.Dir, "store") }

func (m measure) disk() loopdisk.Disk { return loopdisk.Disk{Dir: m.Dir, Device: m.Device} }

func (m measure) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// plantLoad is the workload, beginning at the given round of the day.
func (m measure) plantLoad(round int) *feed {
	for _, w := range workloads() {
		if w.name == m.Load {
			return w.feed(round)
		}
	}
	m.t.Fatalf("no workload %q", m.Load)
	return nil
}

// figures are what a measurement gives, by unit.
type figures map[string]float64

func scenarios() map[string]func(m measure) figures {
	return map[string]func(m measure) figures{
		"day": measureDay, "fill": measureFill, "append": measureAppend, "open": measureOpen, "drain": measureDrain,
		"backlog": measureBacklog, "drained": measureDrained,
	}
}

const (
	measureEnv = "BORDO_MEASURE"
	figureWord = "figure "

	// reserve is the file of ours that holds space free for hard times and nothing else.
	reserve = "reserve"
)

// run lets a process measure and returns its figures.
func (m measure) run(b *testing.B, d loopdisk.Disk) figures {
	b.Helper()
	m.Dir, m.Device = d.Dir, d.Device
	job, err := json.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMeasure$", "-test.timeout=2h", "-test.count=1")
	cmd.Env = append(os.Environ(), measureEnv+"="+string(job))
	if m.One {
		cmd.Env = append(cmd.Env, "GOMAXPROCS=1")
	}
	if m.Collect != 0 {
		cmd.Env = append(cmd.Env, fmt.Sprint("GOGC=", m.Collect))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v: %s", job, err, out)
	}
	got := figures{}
	for line := range strings.Lines(string(out)) {
		rest, ok := strings.CutPrefix(line, figureWord)
		f := strings.Fields(rest)
		if ok && len(f) == 2 {
			got[f[1]] = loopdisk.Number(b, f[0])
		}
	}
	if len(got) == 0 {
		b.Fatalf("%s gave no figures: %s", job, out)
	}
	return got
}

// TestMeasure is the process that measures. Without a job it tries every scenario in small, and wants figures of it.
func TestMeasure(t *testing.T) {
	if text := os.Getenv(measureEnv); text != "" {
		m := measure{t: t}
		m.check(json.Unmarshal([]byte(text), &m))
		say(scenarios()[m.Do](m))
		return
	}
	for name, do := range scenarios() {
		for _, store := range []string{"ours", "plain"} {
			t.Run(name+"/"+store, func(t *testing.T) {
				m := measure{Do: name, Store: store, Load: "noise", Dir: t.TempDir(), Rounds: 360, Bytes: 1 << 20,
					MaxSize: 16 << 20, t: t}
				if got := do(m); len(got) == 0 {
					t.Error("no figures")
				}
			})
		}
	}
}

func say(got figures) {
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	for unit, v := range got {
		fmt.Fprintf(w, "%s%g %s\n", figureWord, v, unit)
	}
}

// bubble runs do in a bubble, where time passes as fast as the disk allows. The plain store sees real time: it has no
// business with the time of day, and its compactors would wake millions of times.
func (m measure) bubble(do func(m measure)) {
	if m.Store != "ours" {
		do(m)
		return
	}
	synctest.Test(m.t, func(t *testing.T) {
		m.t = t
		do(m)
	})
}

// pass lets time pass.
func (m measure) pass(d time.Duration) {
	if m.Store == "ours" {
		time.Sleep(d)
	}
}

// pollEvery is how often the plant is asked, and a day how many rounds.
const (
	pollEvery = 10 * time.Second
	dayRounds = int(24 * time.Hour / pollEvery)
)

// settled is the memory that stays once the runtime has given back what a burst took. By itself it does that over some
// minutes, of which a day in a bubble has none: so a peak is of the whole day, and this is what lies between the bursts.
func (m measure) settled() float64 {
	debug.FreeOSMemory()
	return loopdisk.Anonymous(m.t)
}

// measureDay keeps the cadence of a plant: a round every 10 s, acknowledged after a second when the link is up; a
// quarter hour of each device every 15 minutes; an event every hour.
func measureDay(m measure) figures {
	empty := openKeeper(m)
	m.check(empty.close())
	got, before := figures{}, m.disk().Given(m.t)
	held := loopdisk.Taken(m.t, m.store(), reserve)
	m.bubble(func(m measure) {
		k, f := openKeeper(m), m.plantLoad(0)
		peak := 0.0
		for i := range m.Rounds {
			m.check(k.put(f.next()))
			if i%90 == 89 {
				m.check(k.put(quarters(i / 90)))
			}
			if i%360 == 180 {
				m.check(k.put(oneEvent(i)))
			}
			m.pass(time.Second)
			if !m.Down {
				m.check(k.ack())
			}
			m.pass(pollEvery - time.Second)
			if i%30 == 0 {
				peak = max(peak, loopdisk.Anonymous(m.t))
			}
		}
		got["anon-peak-MB"], got["anon-MB"] = peak/1e6, m.settled()/1e6
		got["stored-MB/day"] = k.written() / 1e6
		m.check(k.close())
	})
	d := m.disk().Given(m.t).Since(before)
	after := loopdisk.Taken(m.t, m.store(), reserve)
	days := float64(m.Rounds) / float64(dayRounds)
	got["stored-MB/day"] /= days
	got["device-MB/day"] = d.Bytes / 1e6 / days
	got["flushes/day"] = d.Flushes / days
	got["disk-B/value"] = (after - held) / float64(m.Rounds*plantDevices*plantPoints)
	return got
}

// quarters are the accounts of one quarter hour.
func quarters(q int) (recs []buffer.Record) {
	for d := range plantDevices {
		ts := int64(plantStart + q*900_000)
		e := Event{
			Dev: fmt.Sprintf("inv-%d", d), Type: "bordo.energy.interval.v1", TS: ts, Mono: ts - plantStart,
			Boot: "b7c1e2f0",
			Clk:  "sync", Data: intervalData(q, d),
		}
		recs = append(recs, buffer.Record{Class: buffer.Interval, From: ts - 900_000, To: ts,
			Payload: AppendEvent(nil, &e)})
	}
	return recs
}

func oneEvent(round int) []buffer.Record {
	ts := plantStart + int64(round)*10_000
	e := Event{
		Dev: "inv-1", Type: "bordo.condition.raised.v1", TS: ts, Mono: ts - plantStart, Boot: "b7c1e2f0", Clk: "sync",
		Data: json.RawMessage(`{"code":"device_silent","dev":"inv-1","severity":"warning"}`),
	}
	return []buffer.Record{{Class: buffer.Event, From: ts, To: ts, Payload: AppendEvent(nil, &e)}}
}

// measureFill writes as fast as it can while nothing is acknowledged: until the store gives up its oldest, and then half
// its size more.
func measureFill(m measure) figures {
	k, all := openKeeper(m), m.rounds(500)
	got, peak, n := figures{}, 0.0, 0
	put := func() {
		m.check(k.put(all[n%len(all)]))
		if n++; n%100 == 0 {
			peak = max(peak, loopdisk.Anonymous(m.t))
		}
	}
	part := func(name string, until func(written float64) bool) {
		before, from := m.disk().Given(m.t), k.written()
		for !until(k.written() - from) {
			for range 100 {
				put()
			}
		}
		d, w := m.disk().Given(m.t).Since(before), k.written()-from
		got[name+"-WA"] = d.Bytes / w
		got[name+"-MB"] = w / 1e6
	}
	full := func() bool {
		return loopdisk.Taken(m.t, m.store()) > float64(m.MaxSize)*3/4
	}
	looked := 0.0
	part("filling", func(w float64) bool {
		if w < looked {
			return false
		}
		looked = w + float64(m.MaxSize)/64
		return full()
	})
	part("between", func(w float64) bool { return w > float64(m.MaxSize)/4 }) // until the first are given up
	delete(got, "between-WA")
	delete(got, "between-MB")
	part("full", func(w float64) bool { return w > float64(m.MaxSize)/2 })
	got["anon-peak-MB"], got["anon-MB"] = peak/1e6, m.settled()/1e6
	got["disk-MB"] = loopdisk.Taken(m.t, m.store()) / 1e6
	m.check(k.close())
	return got
}

// rounds are made beforehand where the making is not to be measured; they are used again and again.
func (m measure) rounds(n int) [][]buffer.Record {
	f := m.plantLoad(noon)
	var all [][]buffer.Record
	for range n {
		all = append(all, f.next())
	}
	return all
}

// putRounds puts n rounds.
func (m measure) putRounds(k keeper, n int) {
	all := m.rounds(min(n, 500))
	for i := range n {
		m.check(k.put(all[i%len(all)]))
	}
}

const roundValues = plantDevices * plantPoints

// measureAppend writes as fast as it can until all is on the disk.
func measureAppend(m measure) figures {
	k, all := openKeeper(m), m.rounds(500)
	cpu := processor(m.t)
	took := elapsed(m.t, func() error {
		for i := range m.Rounds {
			if err := k.put(all[i%len(all)]); err != nil {
				return err
			}
		}
		return k.close()
	})
	n := float64(m.Rounds * roundValues)
	return figures{"values/s": n / took.Seconds(), "values/cpu-s": n / (processor(m.t) - cpu).Seconds()}
}

// measureOpen opens a store many times: as it was closed, with nothing of it in the page cache, and as a crash left it.
func measureOpen(m measure) figures {
	fill := m
	fill.Unsynced = true
	k := openKeeper(fill)
	m.putRounds(k, m.Rounds)
	crashed := m
	crashed.Dir = filepath.Join(m.Dir, "crashed")
	m.check(os.Mkdir(crashed.Dir, 0o755))
	if o, ok := k.(*ours); ok {
		for o.s.Stats().Fresh > 0 && o.s.Stats().Commits == 0 { // something must be sealed
			runtime.Gosched()
		}
	}
	loopdisk.Command(m.t, "cp", "-r", m.store(), crashed.Dir)
	m.check(k.close())
	size := loopdisk.Taken(m.t, m.store(), reserve)
	time1 := func(m measure) float64 {
		var k keeper
		took := elapsed(m.t, func() error { k = openKeeper(m); return nil })
		m.check(k.close())
		return float64(took.Microseconds()) / 1000
	}
	var warm, cold []float64
	for range 5 {
		if m.Device != "" {
			m.disk().Forget(m.t)
			cold = append(cold, time1(m))
		}
		warm = append(warm, time1(m))
	}
	got := figures{"open-ms": median(warm), "crashed-open-ms": time1(crashed), "disk-MB": size / 1e6}
	if cold != nil {
		got["cold-open-ms"] = median(cold)
	}
	return got
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// measureDrain reads a backlog back and acknowledges it.
func measureDrain(m measure) figures {
	k := openKeeper(m)
	m.putRounds(k, m.Rounds)
	m.check(k.close())
	k = openKeeper(m)
	n, cpu := 0, processor(m.t)
	took := elapsed(m.t, func() (err error) { n, err = k.drain(1 << 40); return err })
	spent := processor(m.t) - cpu
	want := m.Rounds * plantDevices
	if m.Store == "plain" {
		want = m.Rounds * roundValues
	}
	if n != want {
		m.t.Fatalf("%d of %d come back", n, want)
	}
	m.check(k.close())
	values := float64(m.Rounds * roundValues)
	return figures{"values/s": values / took.Seconds(), "values/cpu-s": values / spent.Seconds()}
}

// fillBytes puts rounds until the engine was given so many bytes.
func (m measure) fillBytes(k keeper) {
	all := m.rounds(500)
	for i := 0; k.written() < m.Bytes; {
		for range 200 { // to ask how much there is takes its time
			m.check(k.put(all[i%len(all)]))
			i++
		}
	}
}

// measureBacklog fills a store and gives the memory that took. On a store that is filled already it gives what an hour of
// polls and 10 minutes of reading back take.
func measureBacklog(m measure) figures {
	if _, err := os.Stat(m.store()); err != nil {
		k := openKeeper(m)
		m.fillBytes(k)
		got := figures{"filling-peak-MB": loopdisk.Anonymous(m.t) / 1e6}
		m.check(k.close())
		return got
	}
	got, peak := figures{}, 0.0
	m.bubble(func(m measure) {
		k, f := openKeeper(m), m.plantLoad(noon)
		got["open-anon-MB"] = loopdisk.Anonymous(m.t) / 1e6
		for i := range m.Rounds {
			m.check(k.put(f.next()))
			if i >= m.Rounds*5/6 { // the link is up again: what two messages a second carry
				_, err := k.drain(2000)
				m.check(err)
			}
			m.pass(pollEvery)
			peak = max(peak, loopdisk.Anonymous(m.t))
		}
		got["anon-peak-MB"], got["anon-MB"] = peak/1e6, m.settled()/1e6
		m.check(k.close())
	})
	return got
}

// measureDrained gives the space that a backlog leaves behind once it was delivered.
func measureDrained(m measure) figures {
	got := figures{}
	m.bubble(func(m measure) {
		k := openKeeper(m)
		m.fillBytes(k)
		if m.Store == "ours" {
			m.pass(time.Minute) // all is sealed
		}
		got["backlog-MB"] = loopdisk.Taken(m.t, m.store(), reserve) / 1e6
		_, err := k.drain(1 << 40)
		m.check(err)
		m.pass(10 * time.Minute)
		got["disk-MB"] = loopdisk.Taken(m.t, m.store(), reserve) / 1e6
		m.check(k.close())
	})
	return got
}
