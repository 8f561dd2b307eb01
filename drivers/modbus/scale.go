package modbus

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Scale is a factor, stored as a fraction and a power of ten so that a register value gives the exact decimal
// that the device shows: 2302 tenths are 230.2, not 230.20000000000002. The zero value is 1.
type Scale struct {
	num, den int64 // den 0: 1/1
	exp      int   // power of ten
	text     string
}

// parseScale parses "0.1", "10", "-0.001", "1e-3" or "1/128".
func parseScale(text string) (Scale, error) {
	bad := fmt.Errorf("must be a factor such as 0.1, 10 or 1/128 (got %q)", text)
	if a, b, ok := strings.Cut(text, "/"); ok {
		num, err1 := strconv.ParseInt(strings.TrimSpace(a), 10, 32)
		den, err2 := strconv.ParseInt(strings.TrimSpace(b), 10, 32)
		if err1 != nil || err2 != nil || num == 0 || den <= 0 {
			return Scale{}, bad
		}
		return Scale{num: num, den: den, text: text}, nil
	}
	mantissa, exp := text, 0
	if m, e, ok := strings.Cut(strings.ToLower(text), "e"); ok {
		n, err := strconv.Atoi(e)
		if err != nil || n < -15 || n > 15 {
			return Scale{}, bad
		}
		mantissa, exp = m, n
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	num, err := strconv.ParseInt(whole+frac, 10, 32)
	if err != nil || num == 0 || len(frac) > 12 {
		return Scale{}, bad
	}
	for exp -= len(frac); num%10 == 0; num /= 10 {
		exp++
	}
	return Scale{num: num, den: 1, exp: exp, text: text}, nil
}

// String returns the factor as written in the profile.
func (s Scale) String() string {
	if s.den == 0 {
		return "1"
	}
	return s.text
}

func (s Scale) fraction() (num, den int64) {
	if s.den == 0 {
		return 1, 1
	}
	return s.num, s.den
}

// shifted returns the factor multiplied by 10^sf.
func (s Scale) shifted(sf int) Scale {
	s.num, s.den = s.fraction()
	s.exp += sf
	return s
}

// apply returns x times the factor times 10^sf. It divides for negative powers, because 10 is exact in binary
// and 0.1 is not.
func (s Scale) apply(x float64, sf int) float64 {
	num, den := s.fraction()
	x *= float64(num)
	switch e := s.exp + sf; {
	case e < 0:
		return x / (float64(den) * math.Pow10(-e))
	case e > 0:
		x *= math.Pow10(e)
	}
	return x / float64(den)
}

// undo returns the x for which apply(x, sf) is closest to v.
func (s Scale) undo(v float64, sf int) float64 {
	num, den := s.fraction()
	v *= float64(den)
	switch e := s.exp + sf; {
	case e < 0:
		v *= math.Pow10(-e)
	case e > 0:
		v /= math.Pow10(e)
	}
	return v / float64(num)
}

// applyDecimal is apply for a value that was a float of 32 or 64 bits. It scales the shortest decimal that
// rounds to that float, which is what the device meant (230.2, not 230.1999969482422).
func (s Scale) applyDecimal(x float64, bits, sf int) float64 {
	num, den := s.fraction()
	if bits == 64 && s.exp+sf == 0 {
		return x * float64(num) / float64(den)
	}
	if v, ok := s.shortDecimal(x, bits, sf); ok {
		return v * float64(num) / float64(den)
	}
	var buf [32]byte
	text := strconv.AppendFloat(buf[:0], x, 'e', -1, bits)
	mantissa, exponent, ok := strings.Cut(string(text), "e")
	e, err := strconv.Atoi(exponent)
	if !ok || err != nil {
		return s.apply(x, sf) // unreachable: AppendFloat always writes an exponent for 'e'
	}
	v, err := strconv.ParseFloat(mantissa+"e"+strconv.Itoa(e+s.exp+sf), 64)
	if err != nil {
		return math.Inf(1) // too large for a float64: no value
	}
	return v * float64(num) / float64(den)
}

// shortDecimal returns the shortest decimal of x times the power of ten, if the fast path covers it.
func (s Scale) shortDecimal(x float64, bits, sf int) (v float64, ok bool) {
	if bits != 32 {
		return 0, false
	}
	m, places, ok := shortDecimal(float32(x))
	e := s.exp + sf - places
	switch {
	case !ok || e <= -len(exactTen) || e >= len(exactTen):
		return 0, false
	case e < 0:
		return m / exactTen[-e], true
	}
	return m * exactTen[e], true
}

// decimals returns how many digits after the point a scaled whole number can have, -1 if unlimited.
func (s Scale) decimals(sf int) int {
	if _, den := s.fraction(); den != 1 {
		return -1
	}
	return max(0, -(s.exp + sf))
}
