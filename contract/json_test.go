package contract

import (
	"encoding/json"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestNumberAsEncodingJSON: our digits are those of the standard library, whatever the number.
func TestNumberAsEncodingJSON(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, f float64) {
		want, err := json.Marshal(f)
		if err != nil {
			t.Fatalf("Marshal(%v): %v", f, err)
		}
		if got := appendNumber(nil, f); string(got) != string(want) {
			t.Fatalf("appendNumber(%b) = %s, want %s", f, got, want)
		}
	}
	for _, f := range []float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, 0.3, 0.1 + 0.2, 1234.5, -0.001, 0.0005, 1e15, -1e15, 999999999999.999,
		1e21, 1e-6,
		9.9e-7, 1e-7, 5e-324, math.MaxFloat64, 1 << 53, 4503599627370497.5, 123456789.125, 230.1234130859375,
	} {
		check(t, f)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.Float64().Draw(t, "any"))
		m := rapid.Int64Range(-1e16, 1e16).Draw(t, "m")
		e := rapid.IntRange(0, 9).Draw(t, "e")
		check(t, float64(m)/math.Pow10(e))
		check(t, math.Nextafter(float64(m)/math.Pow10(e), 0))
	})
}

// TestStringAsEncodingJSON: what we write reads back as the standard library's own writing does.
func TestStringAsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "text") {
			s = rapid.String().Draw(t, "string")
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("Marshal: %v", err)
		}
		var want, got string
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("Unmarshal: %v", err)
		}
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatalf("Unmarshal(%s): %v", appendString(nil, s), err)
		}
		if got != want {
			t.Fatalf("%q became %q, want %q", s, got, want)
		}
	})
}
