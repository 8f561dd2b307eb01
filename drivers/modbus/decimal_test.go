package modbus

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// strconvDecimal returns the shortest decimal that rounds to x, as strconv finds it, multiplied by a power of ten.
func strconvDecimal(t testing.TB, x float32, shift int) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'f', -1, 32)+"e"+strconv.Itoa(shift), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sameDecimal compares the decimal of a float with strconv's at several powers of ten.
func sameDecimal(t testing.TB, x float32) {
	t.Helper()
	if m, places, ok := shortDecimal(x); ok && float32(m/math.Pow10(places)) != x {
		t.Fatalf("%v (%#08x): the decimal %v / 10^%d rounds to another float", x, math.Float32bits(x), m, places)
	}
	for _, shift := range []int{0, -3, 1, -10} {
		s := Scale{}.shifted(shift)
		want := strconvDecimal(t, x, shift)
		if got := s.applyDecimal(float64(x), 32, 0); math.Float64bits(got) != math.Float64bits(want) {
			t.Errorf("%#08x times 10^%d: %v, strconv says %v", math.Float32bits(x), shift, got, want)
		}
	}
}

// finite returns a finite float for any bits.
func finite(bits uint32) float32 {
	if x := math.Float32frombits(bits); x-x == 0 {
		return x
	}
	return math.Float32frombits(bits &^ (1 << 30))
}

func TestFloatsDecodeToShortestDecimal(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60_000 {
		sameDecimal(t, finite(rng.Uint32()))
		sameDecimal(t, float32(rng.IntN(2_000_000)-1_000_000)/float32(math.Pow10(rng.IntN(7)))) // typical meter values
		// Halves and quarters are equally near to two decimals.
		sameDecimal(t, float32(rng.IntN(1<<24))/float32(int(1)<<rng.IntN(8)))
	}
	for e := range 0xFF { // powers of two and their neighbours
		for _, d := range []uint32{0, 1, 2, 0x7FFFFF, 0x400000} {
			sameDecimal(t, math.Float32frombits(uint32(e)<<23|d))
		}
	}
	sameDecimal(t, float32(math.Copysign(0, -1)))
}

// The fast path must cover typical meter values.
func TestShortDecimalCoversMeterValues(t *testing.T) {
	for _, places := range []int{0, 1, 2, 3} {
		for n := int64(-99_999); n <= 99_999; n += 7 {
			x := float32(float64(n) / math.Pow10(places))
			m, p, ok := shortDecimal(x)
			if !ok || p > places || m/math.Pow10(p) != float64(n)/math.Pow10(places) {
				t.Fatalf("%v: %v / 10^%d, %v", x, m, p, ok)
			}
		}
	}
}

func FuzzShortDecimal(f *testing.F) {
	for _, x := range []float32{0, 230.2, -0.1, 1048576.25, 16777216, 0.0078125, 1e-6, 2.5e-6, math.MaxFloat32,
		math.SmallestNonzeroFloat32} {
		f.Add(math.Float32bits(x))
	}
	f.Fuzz(func(t *testing.T, bits uint32) {
		if x := math.Float32frombits(bits); x-x == 0 {
			sameDecimal(t, x)
		}
	})
}
