package contract

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// appendNumber appends f in the shortest form that reads back to the same bits, as encoding/json does. f must be
// finite.
func appendNumber(dst []byte, f float64) []byte {
	if out, ok := appendDecimal(dst, f); ok {
		return out
	}
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
		if n := len(dst); n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
			dst[n-2] = dst[n-1] // 1e-07 is written 1e-7
			dst = dst[:n-1]
		}
		return dst
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendDecimal appends a number of whole units, tenths or thousandths, which covers nearly all values. It is several
// times as fast as strconv and produces the same digits: up to 15 digits, a double has exactly one shortest decimal.
func appendDecimal(dst []byte, f float64) ([]byte, bool) {
	for places, scale := range [...]float64{1, 10, 100, 1000} {
		x := f * scale
		if !(x > -1e15 && x < 1e15) {
			break
		}
		m := int64(x + math.Copysign(0.5, x))
		if float64(m)/scale != f || m == 0 && math.Signbit(f) {
			continue
		}
		if m < 0 {
			dst, m = append(dst, '-'), -m
		}
		if places == 0 {
			return strconv.AppendInt(dst, m, 10), true
		}
		unit := int64(scale)
		dst = append(strconv.AppendInt(dst, m/unit, 10), '.')
		for rest := m % unit; places > 0; places-- {
			unit /= 10
			dst = append(dst, '0'+byte(rest/unit))
			rest %= unit
		}
		return dst, true
	}
	return dst, false
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD, control characters are escaped.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
		} else {
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
