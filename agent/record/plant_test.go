package record

import (
	"math"
	"math/rand/v2"
	"strconv"

	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// A workload makes what a plant of 20 devices with 25 points each says every 10 s: the records of one poll after another.
type workload struct {
	name  string
	round func(rng *rand.Rand, round int) [][]drivers.Reading // by device
}

const plantDevices, plantPoints = 20, 25

var plantKeys = []string{
	"ac_power", "ac_power_l1", "ac_power_l2", "ac_power_l3", "ac_voltage_l1", "ac_voltage_l2", "ac_voltage_l3",
	"ac_current_l1", "ac_current_l2", "ac_current_l3", "frequency", "power_factor", "reactive_power", "apparent_power",
	"ac_energy", "ac_energy_today", "dc_power", "dc1_voltage", "dc1_current", "dc1_power", "dc2_voltage", "dc2_current",
	"dc2_power", "temperature", "state",
}

// walk is a random walk of every point, in the resolution in which inverters count.
func walk() workload {
	scale := []float64{1, 1, 1, 1, 10, 10, 10, 100, 100, 100, 100, 1000, 1, 1, 100, 100, 1, 10, 100, 1, 10, 100, 1, 10}
	at := make([][]int64, plantDevices)
	for d := range at {
		at[d] = make([]int64, len(scale))
		for p := range at[d] {
			at[d][p] = int64(2000 + 100*d + 10*p)
		}
	}
	return workload{"walk", func(rng *rand.Rand, round int) [][]drivers.Reading {
		out := make([][]drivers.Reading, plantDevices)
		for d := range out {
			for p := range at[d] {
				at[d][p] += int64(math.Round(rng.NormFloat64() * 8))
				out[d] = append(out[d], drivers.Reading{Point: plantKeys[p],
					Value: catalogue.Number(float64(at[d][p]) / scale[p])})
			}
			out[d] = append(out[d], drivers.Reading{Point: "state", Value: catalogue.Words("producing")})
		}
		return out
	}}
}

// day is a day of a photovoltaic plant: sun, clouds, mains that breathe, counters that only rise, and meters that give
// float32 with noise in every bit (devices 18 and 19).
func day() workload {
	wh := make([]float64, plantDevices)
	for d := range wh {
		wh[d] = 20000 - 100*float64(d)
	}
	cloud := 0.9
	return workload{"day", func(rng *rand.Rand, round int) [][]drivers.Reading {
		cloud = min(1, max(0.2, cloud+rng.NormFloat64()*0.01))
		sun := max(0, math.Sin((float64(round%8640)/8640-0.25)*2*math.Pi)) * cloud
		hz := 50 + rng.NormFloat64()*0.01
		out := make([][]drivers.Reading, plantDevices)
		for d := range out {
			power := sun * 10000 * (1 - 0.01*float64(d)) * (1 + rng.NormFloat64()*0.003)
			wh[d] += power * 10 / 3600
			exact := d >= plantDevices-2
			n := func(p int, f, scale float64) {
				v := math.Round(f*scale) / scale
				if exact {
					v = float64(float32(f))
				}
				out[d] = append(out[d], drivers.Reading{Point: plantKeys[p], Value: catalogue.Number(v)})
			}
			volt := func() float64 { return 231 + 2*sun + rng.NormFloat64()*0.3 }
			u := [3]float64{volt(), volt(), volt()}
			n(0, power, 1)
			for i := range 3 {
				n(1+i, power/3, 1)
			}
			for i := range 3 {
				n(4+i, u[i], 10)
			}
			for i := range 3 {
				n(7+i, power/3/u[i], 100)
			}
			n(10, hz, 100)
			n(11, 0.99+rng.NormFloat64()*0.002, 1000)
			n(12, power*0.05*(1+rng.NormFloat64()*0.1), 1)
			n(13, power*1.01, 1)
			n(14, (5e6+float64(d)*1e5+wh[d])/1000, 100)
			n(15, wh[d]/1000, 100)
			n(16, power*1.03, 1)
			for i := range 2 {
				n(17+3*i, 600+50*sun+rng.NormFloat64(), 10)
				n(18+3*i, power/1200, 100)
				n(19+3*i, power/2, 1)
			}
			n(23, 20+30*sun+rng.NormFloat64()*0.05, 10)
			state := "producing"
			if sun == 0 {
				state = "sleeping"
			}
			out[d] = append(out[d], drivers.Reading{Point: "state", Value: catalogue.Words(state)})
		}
		return out
	}}
}

// noise is the worst case: every bit of every mantissa is random.
func noise() workload {
	return workload{"noise", func(rng *rand.Rand, round int) [][]drivers.Reading {
		out := make([][]drivers.Reading, plantDevices)
		for d := range out {
			for p := range plantPoints {
				out[d] = append(out[d], drivers.Reading{Point: plantKeys[p],
					Value: catalogue.Number(2000 + 500*rng.Float64())})
			}
		}
		return out
	}}
}

// plantStart is the time of round 0, ms UTC.
const plantStart = 1760000000000

// feed gives one round after another: what the plant says every 10 s.
type feed struct {
	workload
	rng *rand.Rand
	at  int // the next round
}

func (w workload) feed(round int) *feed {
	return &feed{workload: w, rng: rand.New(rand.NewPCG(1, 2)), at: round}
}

// next makes the records of a round, one for each device.
func (f *feed) next() []buffer.Record {
	recs := make([]buffer.Record, 0, plantDevices)
	for d, readings := range f.round(f.rng, f.at) {
		ts := plantStart + int64(f.at)*10000 + int64(d)*20 + int64(f.rng.IntN(12))
		s := Sample{
			Dev: "inv-" + strconv.Itoa(d), TS: ts, Mono: ts - plantStart + 86400000, Boot: "b7c1e2f0",
			Clk: contract.ClockSync, Readings: readings,
		}
		recs = append(recs, buffer.Record{Class: buffer.Reading, From: ts, To: ts, Payload: AppendSample(nil, &s)})
	}
	f.at++
	return recs
}

// records makes n records of a workload, beginning at the given round.
func (w workload) records(n, skip int) []buffer.Record {
	f := w.feed(skip)
	var recs []buffer.Record
	for len(recs) < n {
		recs = append(recs, f.next()...)
	}
	recs = recs[:n]
	for i := range recs {
		recs[i].ID = buffer.ID{Epoch: "k3f9x2q7", Seq: uint64(10000 + i)}
	}
	return recs
}

func valuesOf(recs []buffer.Record) int { return len(recs) * plantPoints }
