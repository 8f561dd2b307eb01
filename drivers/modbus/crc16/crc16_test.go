package crc16

import (
	"bytes"
	"testing"
)

// The check value of CRC-16/MODBUS in the catalogue of parametrised CRC algorithms, and the worked example in
// the specification (function 7 for device 2: 02 07 41 12).
func TestSum(t *testing.T) {
	if got := Sum([]byte("123456789")); got != 0x4B37 {
		t.Errorf("check value %04X", got)
	}
	frame := Append([]byte{0x02, 0x07})
	if !bytes.Equal(frame, []byte{0x02, 0x07, 0x41, 0x12}) {
		t.Errorf("frame % X", frame)
	}
	if !Sound(frame) || Sound(frame[:3]) || Sound([]byte{0xFF}) || Sound(nil) {
		t.Error("a valid frame is reported as damaged")
	}
	for bit := range 8 * len(frame) {
		damaged := bytes.Clone(frame)
		damaged[bit/8] ^= 1 << (bit % 8)
		if Sound(damaged) {
			t.Errorf("flipping bit %d is not detected", bit)
		}
	}
}
