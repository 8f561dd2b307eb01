package modbus

import "math"

// Bounds of shortDecimal. With at most maxPlaces digits after the point the double that is nearest to a decimal is never so
// near to the middle between two floats that it would be rounded to the other one; wholeMax is from where on not every whole
// number is a float.
const (
	maxPlaces = 6
	wholeMax  = 1 << 24
)

// exactTen are the powers of ten that are doubles: a whole number below 2^53, divided by one of them or times one of them,
// gives the double that is nearest to that decimal.
var exactTen = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// shortDecimal finds the shortest decimal m / 10^places that gives the float back, as strconv does, where that is easy: it
// is at hand for what meters count, tenths, hundredths and thousandths, and several times as fast. ok is false for every
// other float.
//
// Of the decimals with so many places only the one nearest to x can be it: the floats that x is told from lie at the same
// distance on both sides. Those of a power of two do not, so each of them is in the tests. The product below is exact: a float
// has 24 binary digits, and 5^6 has 14. Where two decimals are equally near, the even one is meant.
func shortDecimal(x float32) (m float64, places int, ok bool) {
	f := float64(x)
	if !(f > -wholeMax && f < wholeMax) {
		return 0, 0, false
	}
	if m = math.Trunc(f); m == f {
		return m, 0, true
	}
	for places = 1; places <= maxPlaces; places++ {
		if m = math.RoundToEven(f * exactTen[places]); float32(m/exactTen[places]) == x {
			return m, places, true
		}
	}
	return 0, 0, false
}
