//go:build bench

package record

import (
	"maps"
	"syscall"
	"testing"
	"time"

	"bordo/buffer/loopdisk"
)

// The benchmarks of this file measure bordo/buffer with the codec of the agent, row by row of the table in
// buffer/BENCH.md, beside a plain Badger in the same run. They are here because here is the codec.

// sides runs a measurement for both stores, each on a new disk. The plain one is slow: where that is to its favour (it has
// less to merge) or makes no difference, it does only one part in less of the rounds.
func sides(b *testing.B, size int64, less int, m measure) {
	b.Run("ours", func(b *testing.B) {
		m.Store = "ours"
		once(b, size, m)
	})
	b.Run("plain", func(b *testing.B) {
		m.Store = "plain"
		m.Rounds /= less
		once(b, size, m)
	})
}

// once runs measurements one after the other on a new disk and reports the figures of all. Whatever -benchtime says, it
// measures once: -count asks for more.
func once(b *testing.B, size int64, list ...measure) {
	b.Helper()
	got := figures{}
	for range b.N {
		if len(got) > 0 {
			break
		}
		d := loopdisk.New(b, size)
		for _, m := range list {
			maps.Copy(got, m.run(b, d))
		}
	}
	for unit, v := range got {
		b.ReportMetric(v, unit)
	}
	b.ReportMetric(0, "ns/op")
}

// loads are the workloads of the table: the plant, and the worst case.
func loads(b *testing.B, do func(b *testing.B, load string)) {
	for _, load := range []string{"day", "noise"} {
		b.Run(load, func(b *testing.B) { do(b, load) })
	}
}

func BenchmarkStoreDayHistory(b *testing.B) {
	loads(b, func(b *testing.B, load string) {
		sides(b, 6<<30, 24, measure{Do: "day", Load: load, Rounds: dayRounds, History: 64 << 20})
	})
}

func BenchmarkStoreDayNoHistory(b *testing.B) {
	loads(b, func(b *testing.B, load string) {
		sides(b, 6<<30, 24, measure{Do: "day", Load: load, Rounds: dayRounds})
	})
}

func BenchmarkStoreDayLinkDown(b *testing.B) {
	loads(b, func(b *testing.B, load string) {
		sides(b, 6<<30, 24, measure{Do: "day", Load: load, Rounds: dayRounds, History: 64 << 20, Down: true})
	})
}

func BenchmarkStoreFill(b *testing.B) {
	loads(b, func(b *testing.B, load string) {
		sides(b, 4<<30, 1, measure{Do: "fill", Load: load, MaxSize: 64 << 20})
	})
}

func BenchmarkStoreAppend(b *testing.B) {
	loads(b, func(b *testing.B, load string) {
		sides(b, 4<<30, 10, measure{Do: "append", Load: load, Rounds: 4000, One: true})
	})
}

func BenchmarkStoreOpen(b *testing.B) {
	sides(b, 8<<30, 1, measure{Do: "open", Load: "day", Rounds: 20_000})
}

func BenchmarkStoreDrain(b *testing.B) {
	loads(b, func(b *testing.B, load string) {
		sides(b, 4<<30, 10, measure{Do: "drain", Load: load, Rounds: 4000, One: true})
	})
}

// BenchmarkStoreBacklog is about memory: with the runtime left alone, and collecting as early as the agent does
// (cmd/bordo).
func BenchmarkStoreBacklog(b *testing.B) {
	m := measure{Do: "backlog", Load: "noise", MaxSize: 640 << 20, Bytes: 500 << 20, Rounds: 360, Unsynced: true}
	for _, run := range []struct {
		name, store string
		collect     int
	}{{"ours", "ours", 0}, {"ours-as-shipped", "ours", 40}, {"plain", "plain", 0}} {
		b.Run(run.name, func(b *testing.B) {
			fill, pace := m, m
			fill.Store, fill.Collect = run.store, run.collect
			pace.Store, pace.Collect = run.store, run.collect
			once(b, 4<<30, fill, pace)
		})
	}
}

func BenchmarkStoreDrained(b *testing.B) {
	sides(b, 4<<30, 1, measure{Do: "drained", Load: "noise", Bytes: 100e6})
}

// processor is the time that this process has had.
func processor(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
