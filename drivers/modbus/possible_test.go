package modbus

import (
	"math"
	"testing"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// wild are patterns that are not measurements: the content of a register that the device does not fill, a
// number decoded with another type or word order, and damaged replies.
var wild = map[Type][]uint64{
	// The first is 9.9e37.
	F32: {0x7E94F56A, 0xFE94F56A, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFFFFFFF, 0x00000001,
		0x807FFFFF, 0x000116C2},
	F64: {0x47D2A0CBA2C7E9BD, 0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 1,
		0x8000000000000001},
	U16: {0xFFFF, 0x8000, 0x7FFF}, I16: {0xFFFF, 0x8000, 0x7FFF}, S16: {0xFFFF, 0x7FFF}, BCD16: {0xFFFF, 0x9999},
	U32: {0xFFFFFFFF, 0x80000000, 0x7FFFFFFF}, I32: {0xFFFFFFFF, 0x80000000, 0x7FFFFFFF},
	S32: {0xFFFFFFFF, 0x7FFFFFFF}, BCD32: {0xFFFFFFFF, 0x99999999},
	U64: {math.MaxUint64, 1 << 63, math.MaxInt64}, I64: {math.MaxUint64, 1 << 63, math.MaxInt64},
}

// answerOf returns a reply with a pattern at a point's address, and a scale factor next to it.
func answerOf(pt *Point, bits uint64, factor uint16) Answer {
	s := pt.Span()
	a := Answer{s, make([]byte, 2*s.Count)}
	put := func(at uint16, words ...uint16) {
		for i, w := range words {
			n := 2 * (int(at-s.First) + i)
			a.Data[n], a.Data[n+1] = byte(w>>8), byte(w)
		}
	}
	put(pt.At.Number, pt.Registers(bits)...)
	if pt.SF != nil {
		put(pt.SF.Number, factor)
	}
	if pt.When != nil {
		put(pt.When.At.Number, pt.When.Registers(pt.When.In[0])...)
	}
	return a
}

// Whatever the registers contain, no model returns an impossible number.
func TestNoModelReturnsImpossibleValues(t *testing.T) {
	caught := 0
	for _, p := range Embedded() {
		for _, pt := range everyPoint(p) {
			low, high, ok := pt.Is.Possible()
			if pt.Is.Type != catalogue.Float {
				continue
			}
			if !ok || low >= high || pt.Range != nil && (pt.Range[0] < low || pt.Range[1] > high) {
				t.Errorf("%s: %s is possible from %v to %v, by the model %v", p.Model, pt.Key, low, high, pt.Range)
			}
			if pt.Range != nil {
				low, high = pt.Range[0], pt.Range[1]
			}
			for _, bits := range wild[pt.Type] {
				for _, factor := range []uint16{0, 10, 0xFFF6} {
					it := item{Point: &pt}
					rd := it.decode(answerOf(&pt, bits, factor))
					x := rd.Value.Float()
					switch {
					case rd.Quality == drivers.Bad:
						caught++
					case !(x >= low && x <= high), pt.Type == F32 && bits&0x7F800000 == 0, pt.Type == F64 &&
						bits>>52&0x7FF == 0:
						t.Errorf("%s: %s of 0x%X decodes to %v", p.Model, pt.Key, bits, x)
					}
				}
			}
		}
	}
	if caught < 1000 {
		t.Errorf("only %d patterns decoded to no value", caught)
	}
}

// Values observed in plants are possible, including large ones.
func TestPlantValuesArePossible(t *testing.T) {
	for point, values := range map[string][]float64{
		"ac_power":        {0, -3, 1.1e6, -1.1e6, 6e6},
		"ac_voltage_l1":   {0, 230.2, 480, 11547, 62000},
		"ac_current_l1":   {0, -5, 1732, 5000},
		"frequency":       {0, 16.7, 49.98, 60.02},
		"power_factor":    {-1, 0, 1, 1.001},
		"ac_energy":       {0, 0.1, 14676.442, 1.3e8},
		"dc1_voltage":     {0, -2.3, 1498},
		"dc_power":        {0, 1.3e6},
		"temperature":     {-31.5, 0, 99.4},
		"battery_charge":  {0, 100},
		"humidity":        {0, 100},
		"position":        {0, 100},
		"cycles":          {0, 4e6},
		"apparent_power":  {-1.1e6, 1.2e6},
		"reactive_power":  {-4e5, 4e5},
		"runtime":         {0, 1440},
		"level":           {-1.875, 103.75},
		"volume":          {0, 2500},
		"ac_energy_today": {0, 7800},
	} {
		pt, ok := catalogue.PointOf(point)
		for _, x := range values {
			if !ok || !pt.IsPossible(x) {
				t.Errorf("%s of %v is not possible", point, x)
			}
		}
	}
}
