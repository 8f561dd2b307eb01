package modbus

import (
	"math"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Limits of a 4-20 mA loop in mA (NAMUR NE 43). Outside the first pair the wire is broken or the sensor
// faulty; outside the second the measurement is at the end of the range.
const (
	brokenBelow, brokenAbove = 3.6, 21.0
	rangeBelow, rangeAbove   = 3.8, 20.5
)

// measured converts the value of an analogue channel to the quantity that the configuration maps to it. It
// never clamps: a value outside the sensor's range is returned as it is, with Uncertain.
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
	// The sensor does not resolve more than a millionth of its range.
	if digits := 6 - int(math.Ceil(math.Log10(math.Abs(width)))); digits >= 0 && digits < 15 {
		p := math.Pow10(digits)
		y = math.Round(y*p) / p
	}
	return catalogue.Number(y), quality
}
