//go:build e2e

package agent_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"bordo/agent/record"
	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// These benchmarks measure the built agent in a process of its own against Debian's mosquitto on loopback. The figures
// stand in BENCH.md. Each takes its time once, whatever -benchtime says.

// benchOff is how the history lane runs without a limit worth the name.
const benchOff = ", history_rate: 1000/s, history_bytes: 1GiB/s, history_jitter: 0s"

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// once runs the measurement a single time: it decides itself how long it takes.
func once(b *testing.B, measure func()) {
	b.Helper()
	for done := false; b.Loop(); {
		if !done {
			measure()
			done = true
		}
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCeiling is what this broker takes on this machine now from the tightest publisher that paho gives: QoS 1, one
// connection, a hundred messages in flight.
func BenchmarkCeiling(b *testing.B) {
	for _, size := range []int{200, 8 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { once(b, func() { ceiling(b, size) }) })
	}
}

func ceiling(b *testing.B, size int) {
	m := newBenchBroker(b)
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + m.Addr()).SetClientID("tight").SetAutoReconnect(false))
	if t := c.Connect(); t.Wait() && t.Error() != nil {
		b.Fatal(t.Error())
	}
	defer c.Disconnect(100)
	payload := make([]byte, size)
	var rates []float64
	for range 3 {
		var flying []paho.Token
		n, began := 0, time.Now()
		for time.Since(began) < 2*time.Second {
			flying = append(flying, c.Publish("x", 1, false, payload))
			if len(flying) == 100 {
				for _, t := range flying[:50] {
					if t.Wait(); t.Error() != nil {
						b.Fatal(t.Error())
					}
				}
				flying = slices.Delete(flying, 0, 50)
				n += 50
			}
		}
		rates = append(rates, float64(n)/time.Since(began).Seconds())
		for _, t := range flying {
			t.Wait()
		}
	}
	b.ReportMetric(median(rates), "msg/s")
}

// BenchmarkSteady is the healthy link: everything leaves live.
func BenchmarkSteady(b *testing.B) {
	once(b, func() {
		m := newBenchBroker(b)
		sub := newBenchSub(b, m.Addr())
		_, path := benchNode(b, benchPlant(b), m.Port, "")
		a := benchAgent(b, path)
		// a measurement lasts real time: there is nothing to wait for
		const warm, window = 20 * time.Second, 20 * time.Second
		time.Sleep(warm)
		sub.begin(time.Time{})
		var busy, rss []float64
		for range 4 {
			before, began := a.cpu(b), time.Now()
			time.Sleep(window)
			busy = append(busy, 100*float64(a.cpu(b)-before)/float64(time.Since(began)))
			rss = append(rss, a.memory(b, "VmRSS"))
		}
		live := sub.lane("tele")
		a.stop(syscall.SIGTERM)
		b.ReportMetric(median(busy), "%core")
		b.ReportMetric(median(rss), "MB-rss")
		b.ReportMetric(float64(live.values)/live.last.Sub(live.first).Seconds(), "values/s")
		b.ReportMetric(live.perValue(), "B/value")
		b.ReportMetric(float64(sub.doubled), "duplicates")
	})
}

// BenchmarkDrain is the backlog of a box that was away: 3 million values in its store, 1000 a second coming in. With the
// limits off, then at the defaults (for a minute).
func BenchmarkDrain(b *testing.B) {
	for _, c := range []struct{ name, mqtt string }{{"unlimited", benchOff},
		{"gzip", benchOff + ", history_gzip: true"}, {"default", ", history_jitter: 0s"}} {
		b.Run(c.name, func(b *testing.B) { once(b, func() { drain(b, c.mqtt) }) })
	}
}

func drain(b *testing.B, mqtt string) {
	const records, most = 150_000, time.Minute
	m := newBenchBroker(b)
	sub := newBenchSub(b, m.Addr())
	dir, path := benchNode(b, benchPlant(b), m.Port, mqtt)
	ep := fill(b, filepath.Join(dir, "state", "buffer"), records)
	a := benchAgent(b, path)
	kind := "hist"
	if strings.Contains(mqtt, "gzip") {
		kind = "histz"
	}
	sub.until(b, 20*time.Second, "the first of the backlog", func() bool { return sub.lane(kind).messages > 0 })
	busy, began := a.cpu(b), time.Now()
	for sub.arrived(ep) < records && time.Since(began) < most {
		time.Sleep(10 * time.Millisecond) // fine enough for a minute
	}
	took := time.Since(began)
	busy = a.cpu(b) - busy
	hist := sub.lane(kind)
	b.ReportMetric(float64(hist.values)/hist.last.Sub(hist.first).Seconds(), "values/s")
	b.ReportMetric(100*float64(busy)/float64(took), "%core")
	b.ReportMetric(float64(hist.values)/busy.Seconds(), "values/cpu-s")
	b.ReportMetric(a.memory(b, "VmHWM"), "MB-peak")
	b.ReportMetric(hist.perValue(), "B/value")
	b.ReportMetric(float64(sub.doubled), "duplicates")
}

// fill puts records into a store as an agent without a broker does, and closes it.
func fill(b *testing.B, dir string, records int) (epoch string) {
	b.Helper()
	store, err := buffer.Open(dir, buffer.Options{Codec: record.NewCodec()})
	if err != nil {
		b.Fatal(err)
	}
	var walks []*benchWalk
	for d := range benchDevices {
		walks = append(walks, newBenchWalk(d))
	}
	from := time.Now().Add(-time.Duration(records/benchDevices) * time.Second).UnixMilli()
	keys := benchKeys()
	for i := range records {
		d, ts := i%benchDevices, from+int64(i/benchDevices)*1000+int64(i%benchDevices)
		s := record.Sample{Dev: benchDevice(d), TS: ts, Mono: ts - from, Boot: "b7c1e2f0", Clk: contract.ClockSync}
		for p, v := range walks[d].step() {
			s.Readings = append(s.Readings, drivers.Reading{Point: keys[p], Value: catalogue.Number(shortest(v))})
		}
		if _, err := store.Append(buffer.Reading, ts, ts, record.AppendSample(nil, &s)); err != nil {
			b.Fatal(err)
		}
	}
	epoch = store.Opened().Epoch
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	return epoch
}

// shortest is a float32 as the driver gives it: the number with the fewest digits that is nearest to it.
func shortest(v float32) float64 {
	f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	if err != nil {
		panic(err)
	}
	return f
}

// BenchmarkReturn is how long after the broker is back (it listens) the first of the backlog arrives, after a short and two
// long outages, and what came twice in all. Old events and quarter hours go before old readings, whose first is told apart.
func BenchmarkReturn(b *testing.B) {
	once(b, func() {
		m := newBenchBroker(b)
		sub := newBenchSub(b, m.Addr())
		_, path := benchNode(b, benchPlant(b), m.Port, ", reconnect_max: 500ms")
		a := benchAgent(b, path)
		sub.until(b, 20*time.Second, "live samples", func() bool { return sub.lane("tele").values > 5000 })
		for _, away := range []time.Duration{10 * time.Second, 120 * time.Second, 130 * time.Second} {
			m.Down()
			time.Sleep(away) // how long it is away is what the benchmark asks about
			sub.begin(time.Now().Add(-2 * time.Second))
			m.Up(b)
			back := time.Now()
			sub.until(b, 2*time.Minute, "the first of the old readings",
				func() bool { return sub.lane("hist").messages > 0 })
			b.ReportMetric(1000*sub.lane("past").first.Sub(back).Seconds(),
				fmt.Sprintf("ms-first-%.0fs", away.Seconds()))
			b.ReportMetric(1000*sub.lane("hist").first.Sub(back).Seconds(),
				fmt.Sprintf("ms-reading-%.0fs", away.Seconds()))
			sub.until(b, time.Minute, "all of them", func() bool {
				h := sub.lane("hist")
				return h.values >= benchDevices*benchPoints*int(away/time.Second-6) &&
					time.Since(h.last) > 2*time.Second
			})
		}
		a.stop(syscall.SIGTERM)
		b.ReportMetric(float64(sub.doubled), "duplicates")
	})
}
