package modbus

import "math"

// Limits of shortDecimal. A decimal with at most maxPlaces digits after the point, rounded to the nearest
// double, never lies so close to the midpoint of two float32 values that it would round to the wrong one.
// From wholeMax on, not every whole number is a float32.
const (
	maxPlaces = 6
	wholeMax  = 1 << 24
)

// exactTen are the powers of ten that a float64 represents exactly. Multiplying or dividing a whole number
// below 2^53 by one of them gives the float64 that is nearest to the decimal.
var exactTen = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
	1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// shortDecimal finds the shortest decimal m / 10^places that rounds to x, as strconv does. It covers the
// values that meters deliver (tenths, hundredths, thousandths) several times as fast. ok is false for all
// other values.
//
// With a given number of places only the decimal nearest to x can qualify, because the neighbours of x are
// equally far away on both sides. This does not hold for powers of two, so the tests check every one of them.
// The product below is exact: a float32 has 24 binary digits and 5^6 has 14. If two decimals are equally
// near, strconv takes the even one.
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
