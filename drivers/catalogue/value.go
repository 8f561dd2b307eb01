package catalogue

import (
	"math"
	"strconv"
)

// Type is the type of a point's value.
type Type uint8

// The types of values. None is the type of an absent value.
const (
	None Type = iota
	Float
	Bool
	Text
)

// String returns the name used in meta.
func (t Type) String() string {
	return [...]string{"none", "float", "bool", "text"}[t]
}

// Value is what a point held: a finite number, a truth value, a text, or nothing (the zero value).
type Value struct {
	kind Type
	num  float64
	text string
}

// Number returns a number. One that is not finite becomes an absent value, because no point can hold it.
func Number(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}
	}
	return Value{kind: Float, num: f}
}

// Truth makes a truth value.
func Truth(b bool) Value {
	v := Value{kind: Bool}
	if b {
		v.num = 1
	}
	return v
}

// Words makes a text.
func Words(s string) Value { return Value{kind: Text, text: s} }

// Type returns the type, None when there is no value.
func (v Value) Type() Type { return v.kind }

// Float returns the number, 0 when the value is not a number.
func (v Value) Float() float64 {
	if v.kind != Float {
		return 0
	}
	return v.num
}

// Bool returns the truth value, false when the value is not one.
func (v Value) Bool() bool { return v.kind == Bool && v.num != 0 }

// Text returns the text, "" when the value is not a text.
func (v Value) Text() string { return v.text }

// String formats the value for a person, "-" when it is absent.
func (v Value) String() string {
	switch v.kind {
	case Float:
		return strconv.FormatFloat(v.num, 'f', -1, 64)
	case Bool:
		return strconv.FormatBool(v.num != 0)
	case Text:
		return v.text
	}
	return "-"
}
