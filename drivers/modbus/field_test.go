package modbus

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// at7 returns a field at holding register 7, for a reply that begins at register 5.
func at7(t Type, n int, f Field) Field {
	f.At, f.Type, f.Length = Address{Holding, 7}, t, n
	return f
}

func scale(text string) Scale {
	s, err := parseScale(text)
	if err != nil {
		panic(err)
	}
	return s
}

func answer5(words string) Answer {
	data, err := hex.DecodeString(strings.ReplaceAll(words, " ", ""))
	if err != nil {
		panic(err)
	}
	return Answer{Span{Holding, 5, len(data) / 2}, data}
}

// The expected values are derived from the named documents, or are exact by construction.
func TestDecodeNumbers(t *testing.T) {
	sf := &Address{Holding, 6}
	for _, c := range []struct {
		name  string
		field Field
		words string // registers 5, 6, 7, ...
		want  string
	}{
		{"u16", at7(U16, 1, Field{}), "0000 0000 FFFE", "65534"},
		{"i16", at7(I16, 1, Field{}), "0000 0000 FFFE", "-2"},
		{"u32, Fronius site total", at7(U32, 2, Field{}), "0000 0000 0001 0000", "65536"},
		{"i32 low word first: Carlo Gavazzi -1.0 W", at7(I32, 2, Field{Words: LowFirst, Scale: scale("0.1")}),
			"0000 0000 FFF6 FFFF", "-1"},
		{"u32 low word first: CAME 12345", at7(U32, 2, Field{Words: LowFirst}), "0000 0000 3039 0000", "12345"},
		{"u64", at7(U64, 4, Field{Scale: scale("0.01")}), "0000 0000 0000 0000 0001 E240", "1234.56"},
		{"i64", at7(I64, 4, Field{}), "0000 0000 FFFF FFFF FFFF FFFE", "-2"},
		{"sign and magnitude", at7(S16, 1, Field{}), "0000 0000 8005", "-5"},
		{"sign and magnitude, minus zero", at7(S16, 1, Field{}), "0000 0000 8000", "0"},
		{"sign and magnitude, 32 bits", at7(S32, 2, Field{}), "0000 0000 8000 0007", "-7"},
		{"BCD", at7(BCD16, 1, Field{}), "0000 0000 1234", "1234"},
		{"BCD, 32 bits", at7(BCD32, 2, Field{}), "0000 0000 0123 4567", "1234567"},
		{"BCD with an invalid digit", at7(BCD16, 1, Field{}), "0000 0000 12A4", "-"},
		{"upper half", at7(U8Hi, 1, Field{}), "0000 0000 0301", "3"},
		{"lower half", at7(U8Lo, 1, Field{}), "0000 0000 0301", "1"},
		{"bytes swapped", at7(U16, 1, Field{Bytes: LowFirst}), "0000 0000 3412", "4660"},
		{"all swapped", at7(U32, 2, Field{Bytes: LowFirst, Words: LowFirst}), "0000 0000 7856 3412", "305419896"},
		{"f32: 230.2", at7(F32, 2, Field{}), "0000 0000 4366 3333", "230.2"},
		{"f32 CDAB: Kostal 50 Hz", at7(F32, 2, Field{Words: LowFirst}), "0000 0000 0000 4248", "50"},
		{"f32 in Wh", at7(F32, 2, Field{Scale: scale("0.001")}), "0000 0000 4366 3333", "0.2302"},
		{"f32 NaN", at7(F32, 2, Field{}), "0000 0000 7FC0 0000", "-"},
		{"f32 infinite", at7(F32, 2, Field{}), "0000 0000 FF80 0000", "-"},
		{"f64", at7(F64, 4, Field{}), "0000 0000 3FF3 AE14 7AE1 47AE", "1.23"},
		{"f64 in Wh", at7(F64, 4, Field{Scale: scale("0.001")}), "0000 0000 40C8 1CD6 C8B4 3958", "12.345678"},
		{"tenths", at7(U16, 1, Field{Scale: scale("0.1")}), "0000 0000 08FE", "230.2"},
		{"hundredths", at7(U16, 1, Field{Scale: scale("0.01")}), "0000 0000 1385", "49.97"},
		{"thousandths", at7(I16, 1, Field{Scale: scale("0.001")}), "0000 0000 FC19", "-0.999"},
		{"kW to W", at7(I16, 1, Field{Scale: scale("10")}), "0000 0000 0123", "2910"},
		{"APC volts are 64ths", at7(U16, 1, Field{Scale: scale("1/64")}), "0000 0000 39A0", "230.5"},
		{"APC charge is 512ths", at7(U16, 1, Field{Scale: scale("1/512")}), "0000 0000 C800", "100"},
		{"Kelvin tenths", at7(U16, 1, Field{Scale: scale("0.1"), Offset: scale("-273.15"), HasOff: true}),
			"0000 0000 0BA5", "24.95"},
		{"offset", at7(U16, 1, Field{Offset: scale("-40"), HasOff: true}), "0000 0000 0041", "25"},
		{"scale factor -1", at7(U16, 1, Field{SF: sf}), "0000 FFFF 08FE", "230.2"},
		{"scale factor 2", at7(I16, 1, Field{SF: sf}), "0000 0002 FFFD", "-300"},
		{"scale factor and Wh", at7(U32, 2, Field{SF: sf, Scale: scale("0.001")}), "0000 0001 0001 0000", "655.36"},
		{"scale factor -10", at7(U16, 1, Field{SF: sf}), "0000 FFF6 0001", "0.0000000001"},
		{"scale factor not implemented", at7(U16, 1, Field{SF: sf}), "0000 8000 08FE", "-"},
		{"scale factor out of range", at7(U16, 1, Field{SF: sf}), "0000 000B 08FE", "-"},
		{"no value: SunSpec", at7(I16, 1, Field{NA: []uint64{0x8000}}), "0000 0000 8000", "-"},
		{"no value: signed maximum of Huawei", at7(I32, 2, Field{NA: []uint64{0x7FFFFFFF}}), "0000 0000 7FFF FFFF",
			"-"},
		{"no value in the device's order: Carlo Gavazzi",
			at7(I32, 2, Field{Words: LowFirst, NA: []uint64{0x7FFFFFFF}}), "0000 0000 FFFF 7FFF", "-"},
		{"no value of a float", at7(F32, 2, Field{NA: []uint64{0}}), "0000 0000 0000 0000", "-"},
		{"0xFFFF is -1 for a signed", at7(I16, 1, Field{NA: []uint64{0x8000}}), "0000 0000 FFFF", "-1"},
		{"not in the reply", at7(U32, 2, Field{}), "0000 0000 0001", "-"},
		{"scale factor not in the reply", at7(U16, 1, Field{SF: &Address{Holding, 4}}), "0000 0000 0001", "-"},
	} {
		v, q := c.field.Decode(answer5(c.words), catalogue.Float)
		if v.String() != c.want || (q == drivers.Bad) != (c.want == "-") {
			t.Errorf("%s: %s decodes to %v (quality %d), want %s", c.name, c.words, v, q, c.want)
		}
	}
}

func TestDecodeTextsAndBits(t *testing.T) {
	states := map[uint64]string{4: "producing"}
	flags := []Flag{{0, "earth fault"}, {7, "too hot"}, {33, "fan"}}
	for _, c := range []struct {
		name  string
		field Field
		as    catalogue.Type
		words string
		want  string
	}{
		{"enum", at7(U16, 1, Field{Enum: states}), catalogue.Text, "0000 0000 0004", "producing"},
		{"enum without the number", at7(U16, 1, Field{Enum: states}), catalogue.Text, "0000 0000 0005", "-"},
		{"enum, else formatted", at7(U16, 1, Field{Enum: map[uint64]string{0: ""}, Format: "E%03d"}), catalogue.Text,
			"0000 0000 0019", "E025"},
		{"hexadecimal", at7(U16, 1, Field{Format: "0x%04X"}), catalogue.Text, "0000 0000 1033", "0x1033"},
		{"signed", at7(I16, 1, Field{Format: "%d"}), catalogue.Text, "0000 0000 FFFF", "-1"},
		{"flags", at7(Bits, 1, Field{Flags: flags}), catalogue.Text, "0000 0000 0081", "earth fault, too hot"},
		{"no flag", at7(Bits, 1, Field{Flags: flags}), catalogue.Text, "0000 0000 0100", ""},
		{"flags over three registers, the first lowest", at7(Bits, 3, Field{Flags: flags, Words: LowFirst}),
			catalogue.Text, "0000 0000 0001 0000 0002", "earth fault, fan"},
		{"string", at7(String, 3, Field{}), catalogue.Text, "0000 0000 4142 4320 2000", "ABC"},
		{"string cut at NUL", at7(String, 3, Field{}), catalogue.Text, "0000 0000 4100 4243 4445", "A"},
		{"string with garbage", at7(String, 2, Field{}), catalogue.Text, "0000 0000 41FF 0A42", "A??B"},
		{"string, bytes swapped", at7(String, 2, Field{Bytes: LowFirst}), catalogue.Text, "0000 0000 4241 0043", "ABC"},
		{"empty string", at7(String, 1, Field{}), catalogue.Text, "0000 0000 0000", "-"},
		{"dotted", at7(Dotted, 3, Field{}), catalogue.Text, "0000 0000 0001 000C 0003", "1.12.3"},
		{"days since 2000", at7(Date, 1, Field{Format: daysSince2000}), catalogue.Text, "0000 0000 223E", "2024-01-01"},
		{"date and time", at7(Date, 6, Field{Format: ymdhms}), catalogue.Text,
			"0000 0000 0018 0002 001D 000C 0022 0038", "2024-02-29T12:34:56"},
		{"a date that does not exist", at7(Date, 6, Field{Format: ymdhms}), catalogue.Text,
			"0000 0000 0017 0002 001D 000C 0022 0038", "-"},
		{"bit set", at7(Bool, 1, Field{Bit: 3}), catalogue.Bool, "0000 0000 0008", "true"},
		{"bit clear", at7(Bool, 1, Field{Bit: 3}), catalogue.Bool, "0000 0000 0007", "false"},
		{"bit inverted", at7(Bool, 1, Field{Bit: 3, Invert: true}), catalogue.Bool, "0000 0000 0007", "true"},
	} {
		v, q := c.field.Decode(answer5(c.words), c.as)
		if v.String() != c.want || (q == drivers.Bad) != (c.want == "-") {
			t.Errorf("%s: %s decodes to %q (quality %d), want %q", c.name, c.words, v, q, c.want)
		}
	}
}

func TestDecodeCoils(t *testing.T) {
	a := Answer{Span{Coil, 5, 10}, []byte{0b0000_0101, 0b10}} // 5, 7 and 14 are on
	for number, want := range map[uint16]string{5: "true", 6: "false", 7: "true", 14: "true", 13: "false", 15: "-",
		4: "-"} {
		f := Field{At: Address{Coil, number}, Type: Bool, Length: 1}
		if v, _ := f.Decode(a, catalogue.Bool); v.String() != want {
			t.Errorf("coil %d is %v, want %s", number, v, want)
		}
		f.Invert = true
		inverse := map[string]string{"true": "false", "false": "true", "-": "-"}[want]
		if v, _ := f.Decode(a, catalogue.Bool); v.String() != inverse {
			t.Errorf("coil %d inverted is %v, want %s", number, v, inverse)
		}
	}
	f := Field{At: Address{Discrete, 5}, Type: Bool, Length: 1}
	if _, q := f.Decode(a, catalogue.Bool); q != drivers.Bad {
		t.Error("a discrete input was decoded from coils")
	}
}

// Every register value with a decimal scale gives the decimal that a person would write.
func TestScaleIsExactForEveryRegister(t *testing.T) {
	for _, c := range []struct {
		text   string
		digits int
	}{{"0.1", 1}, {"0.01", 2}, {"0.001", 3}, {"0.0001", 4}} {
		s := scale(c.text)
		for raw := -32768; raw <= 65535; raw++ {
			got := catalogue.Number(s.apply(float64(raw), 0)).String()
			digits := len(got) - 1 - strings.IndexByte(got, '.')
			if strings.IndexByte(got, '.') >= 0 && digits > c.digits {
				t.Fatalf("%d times %s is %s", raw, c.text, got)
			}
		}
	}
}

func TestScaleUndo(t *testing.T) {
	for _, text := range []string{"0.1", "0.01", "10", "1000", "1/64", "-0.1", "5e-3"} {
		s := scale(text)
		for sf := -3; sf <= 3; sf++ {
			for _, raw := range []float64{0, 1, -17, 4711, 32767} {
				if got := math.Round(s.undo(s.apply(raw, sf), sf)); got != raw {
					t.Errorf("%s with 10^%d: %v became %v", text, sf, raw, got)
				}
			}
		}
	}
	for _, text := range []string{"", "x", "0", "0.0", "1/0", "0/1", "1/-2", "1e99", "0.1.2", "1e", "99999999999"} {
		if s, err := parseScale(text); err == nil {
			t.Errorf("%q was parsed as %v", text, s)
		}
	}
}

// Encode is checked against the same expectations as Decode: decoding its result gives the value, or Encode
// returns an error.
func TestEncodeIsTheInverse(t *testing.T) {
	for _, c := range []struct {
		field Field
		value catalogue.Value
		sf    int
		words string
	}{
		{at7(U16, 1, Field{Scale: scale("0.1")}), catalogue.Number(230.2), 0, "08FE"},
		{at7(I16, 1, Field{}), catalogue.Number(-2), 0, "FFFE"},
		{at7(I32, 2, Field{Words: LowFirst, Scale: scale("0.1")}), catalogue.Number(-1), 0, "FFF6 FFFF"},
		{at7(U64, 4, Field{}), catalogue.Number(math.Ldexp(1, 63)), 0, "8000 0000 0000 0000"},
		{at7(S16, 1, Field{}), catalogue.Number(-5), 0, "8005"},
		{at7(BCD16, 1, Field{}), catalogue.Number(1234), 0, "1234"},
		{at7(U8Hi, 1, Field{}), catalogue.Number(3), 0, "0300"},
		{at7(F32, 2, Field{}), catalogue.Number(230.2), 0, "4366 3333"},
		{at7(F64, 4, Field{}), catalogue.Number(1.23), 0, "3FF3 AE14 7AE1 47AE"},
		{at7(U16, 1, Field{Offset: scale("-40"), HasOff: true}), catalogue.Number(25), 0, "0041"},
		{at7(U16, 1, Field{}), catalogue.Number(230.2), -1, "08FE"},
		{at7(U16, 1, Field{Enum: map[uint64]string{4: "producing"}}), catalogue.Words("producing"), 0, "0004"},
		{at7(U16, 1, Field{Format: "E%03d"}), catalogue.Words("E025"), 0, "0019"},
		{at7(Bits, 1, Field{Flags: []Flag{{0, "a"}, {7, "b"}}}), catalogue.Words("a, b"), 0, "0081"},
		{at7(String, 2, Field{}), catalogue.Words("ABC"), 0, "4142 4300"},
		{at7(Dotted, 3, Field{}), catalogue.Words("1.12.3"), 0, "0001 000C 0003"},
		{at7(Bool, 1, Field{Bit: 3}), catalogue.Truth(true), 0, "0008"},
	} {
		regs, err := c.field.Encode(c.value, c.sf)
		if err != nil {
			t.Errorf("%s %v: %v", c.field.Type, c.value, err)
			continue
		}
		var got []string
		for _, r := range regs {
			got = append(got, strings.ToUpper(hex.EncodeToString([]byte{byte(r >> 8), byte(r)})))
		}
		if s := strings.Join(got, " "); s != c.words {
			t.Errorf("%s %v is %s, want %s", c.field.Type, c.value, s, c.words)
		}
	}
	for _, c := range []struct {
		field Field
		value catalogue.Value
	}{
		{at7(U16, 1, Field{}), catalogue.Number(-1)},
		{at7(U16, 1, Field{}), catalogue.Number(65536)},
		{at7(I16, 1, Field{}), catalogue.Number(32768)},
		{at7(U16, 1, Field{Enum: map[uint64]string{1: "on"}}), catalogue.Words("off")},
		{at7(String, 1, Field{}), catalogue.Words("long")},
		{at7(Dotted, 1, Field{}), catalogue.Words("1.2")},
		{at7(Date, 1, Field{}), catalogue.Words("2024-01-01")},
	} {
		if regs, err := c.field.Encode(c.value, 0); err == nil {
			t.Errorf("%s encoded %v as %04X", c.field.Type, c.value, regs)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0x43, 0x66, 0x33, 0x33}, uint8(8), uint8(1))
	types := []Type{Bool, U8Hi, U8Lo, U16, U32, U64, I16, I32, I64, S16, S32, BCD16, BCD32, F32, F64, Bits, String,
		Date, Dotted}
	f.Fuzz(func(t *testing.T, data []byte, kind, as uint8) {
		typ := types[int(kind)%len(types)]
		n, _ := typ.registers()
		if n == 0 {
			n = 1
		}
		field := at7(typ, n, Field{SF: &Address{Holding, 6}, Scale: scale("0.001"), Format: "%d",
			Enum: map[uint64]string{1: "one"}, Flags: []Flag{{1, "b"}}})
		v, q := field.Decode(Answer{Span{Holding, 5, len(data) / 2}, data}, catalogue.Type(1+as%3))
		if (v.Type() == catalogue.None) != (q == drivers.Bad) {
			t.Errorf("%s of % X: %v with quality %d", typ, data, v, q)
		}
	})
}
