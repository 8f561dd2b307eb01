package modbus

import (
	"math"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Limits of a 4-20 mA loop, after NAMUR NE 43: below and above the first pair the wire is broken or the sensor at fault,
// outside the second it is at the end of its range.
const (
	brokenBelow, brokenAbove = 3.6, 21.0
	rangeBelow, rangeAbove   = 3.8, 20.5
)

// measured turns what an analogue channel shows into the quantity that hangs on it. Nothing is clamped: a value beyond the
// sensor's range is told as it is, and doubted.
func measured(x float64, unit string, tap *drivers.ChannelMap) (catalogue.Value, drivers.Quality) {
	quality := drivers.Good
	if tap == nil {
		return catalogue.Number(x), quality
	}
	if unit == "mA" && tap.From == [2]float64{4, 20} {
		switch {
		case x < brokenBelow || x > brokenAbove:
			return catalogue.Value{}, drivers.Bad
		case x < rangeBelow || x > rangeAbove:
			quality = drivers.Uncertain
		}
	}
	width := tap.To[1] - tap.To[0]
	y := tap.To[0] + (x-tap.From[0])/(tap.From[1]-tap.From[0])*width
	// Digits beyond a millionth of the range are not the sensor's.
	if digits := 6 - int(math.Ceil(math.Log10(math.Abs(width)))); digits >= 0 && digits < 15 {
		p := math.Pow10(digits)
		y = math.Round(y*p) / p
	}
	return catalogue.Number(y), quality
}
