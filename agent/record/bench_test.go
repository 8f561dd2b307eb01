package record

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"bordo/buffer"
	"bordo/contract"
)

// workloads lists what is measured: begin at noon, where the day is liveliest.
func workloads() []workload { return []workload{walk(), day(), noise()} }

const noon = 4320

func BenchmarkSeal(b *testing.B) {
	for _, w := range workloads() {
		for _, n := range []int{20, 100, 400, 2000} {
			b.Run(fmt.Sprintf("%s/samples=%d", w.name, n), func(b *testing.B) {
				recs := w.records(n, noon)
				c := NewCodec()
				size := 0
				m := start(b)
				for b.Loop() {
					block, err := c.Seal(recs)
					if err != nil {
						b.Fatal(err)
					}
					size = len(block)
				}
				m.report(b, recs, size)
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, w := range workloads() {
		for _, n := range []int{20, 400} {
			b.Run(fmt.Sprintf("%s/samples=%d", w.name, n), func(b *testing.B) {
				recs := w.records(n, noon)
				c := NewCodec()
				block, err := c.Seal(recs)
				if err != nil {
					b.Fatal(err)
				}
				m := start(b)
				for b.Loop() {
					if _, err := c.Open(block); err != nil {
						b.Fatal(err)
					}
				}
				m.report(b, recs, len(block))
			})
		}
	}
}

// BenchmarkSealJSON is what the codec is held against: the samples as JSON lines through the same zstd.
func BenchmarkSealJSON(b *testing.B) {
	for _, w := range workloads() {
		for _, n := range []int{20, 100, 400, 2000} {
			b.Run(fmt.Sprintf("%s/samples=%d", w.name, n), func(b *testing.B) {
				recs := w.records(n, noon)
				enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
					zstd.WithEncoderConcurrency(1),
					zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true))
				if err != nil {
					b.Fatal(err)
				}
				var fields []contract.Field
				size := 0
				m := start(b)
				for b.Loop() {
					var lines []byte
					for i := range recs {
						if fields, err = Fields(fields[:0], recs[i].Payload); err != nil {
							b.Fatal(err)
						}
						lines = append(contract.AppendSample(lines, recs[i].Seq, recs[i].From, fields), '\n')
					}
					size = len(enc.EncodeAll(lines, nil))
				}
				m.report(b, recs, size)
			})
		}
	}
}

// meter measures CPU time, because the machine may be busy with other things.
type meter struct{ from syscall.Timeval }

func start(b *testing.B) meter {
	b.Helper()
	b.ReportAllocs()
	return meter{cpu(b)}
}

func cpu(b *testing.B) syscall.Timeval {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return syscall.NsecToTimeval(u.Utime.Nano() + u.Stime.Nano())
}

func (m meter) report(b *testing.B, recs []buffer.Record, size int) {
	b.Helper()
	now := cpu(b)
	seconds := float64(now.Nano()-m.from.Nano()) / 1e9
	row := 0
	for i := range recs {
		row += len(recs[i].Payload)
	}
	n := float64(valuesOf(recs))
	b.ReportMetric(float64(size)/n, "bytes/value")
	b.ReportMetric(float64(row)/n, "rowbytes/value")
	b.ReportMetric(n*float64(b.N)/seconds/1e6, "Mvalues/cpu-s")
}

func BenchmarkAppendSample(b *testing.B) {
	for _, w := range workloads() {
		b.Run(w.name, func(b *testing.B) {
			recs := w.records(20, noon)
			samples := make([]Sample, len(recs))
			for i := range recs {
				s, err := DecodeSample(recs[i].Payload)
				if err != nil {
					b.Fatal(err)
				}
				samples[i] = s
			}
			var row []byte
			m := start(b)
			for b.Loop() {
				for i := range samples {
					row = AppendSample(row[:0], &samples[i])
				}
			}
			m.report(b, recs, 0)
		})
	}
}

func BenchmarkJSON(b *testing.B) {
	for _, w := range workloads() {
		b.Run(w.name, func(b *testing.B) {
			recs := w.records(200, noon)
			var out []byte
			var fields []contract.Field
			var err error
			m := start(b)
			for b.Loop() {
				out = out[:0]
				for i := range recs {
					if fields, err = Fields(fields[:0], recs[i].Payload); err != nil {
						b.Fatal(err)
					}
					out = contract.AppendSample(out, recs[i].Seq, recs[i].From, fields)
				}
			}
			m.report(b, recs, len(out))
		})
	}
}
