package drivers

import "context"

// RawArea is a part of a device's memory that can be read without interpretation, such as the holding registers of
// Modbus.
type RawArea struct {
	Name     string // a word of lower case letters
	Function int    // by which it is read
	Bits     bool   // it holds bits; otherwise registers of two bytes
	MaxCount int    // maximum number of bits or registers per read
}

// RawQuery asks for the content of an area.
type RawQuery struct {
	Unit  int    `json:"unit"`
	Area  string `json:"area"`
	First int    `json:"first"` // address as encoded in the frame
	Count int    `json:"count"` // of bits or registers
}

// RawReader is a driver that can read what a device holds without knowing its model. It only reads.
type RawReader interface {
	Driver
	RawAreas() []RawArea
	// ReadRaw reads once. Registers are returned high byte first. Bits are packed eight to a byte, the first one
	// lowest. The port may be borrowed from a running line (Request).
	ReadRaw(ctx context.Context, l Line, port Port, q RawQuery) ([]byte, error)
}

// Capturer is a driver that can record what a device answers, as a proof for the device's model. It only reads.
type Capturer interface {
	Driver
	// Capture polls a device once and returns the frames and their readings, as a test file of the driver. Serial
	// numbers are masked, also in the frames. source says where and when it was recorded. The port may be borrowed from
	// a running line (Request).
	Capture(ctx context.Context, l Line, port Port, d Device, source string) (string, error)
}
