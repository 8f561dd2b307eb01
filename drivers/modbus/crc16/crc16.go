// Package crc16 computes the checksum of Modbus RTU frames (Modbus over Serial Line V1.02, 6.2.2): polynomial
// 0xA001 reflected, initial value 0xFFFF. A frame carries it low byte first.
package crc16

import "encoding/binary"

// Size is the number of bytes of the checksum in a frame.
const Size = 2

// Sum returns the checksum of b.
func Sum(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc = crc>>8 ^ table[byte(crc)^c]
	}
	return crc
}

// Append appends the checksum of b to b.
func Append(b []byte) []byte { return binary.LittleEndian.AppendUint16(b, Sum(b)) }

// Sound reports whether a frame ends with its correct checksum.
func Sound(frame []byte) bool {
	n := len(frame) - Size
	return n >= 0 && binary.LittleEndian.Uint16(frame[n:]) == Sum(frame[:n])
}

// table holds the checksum of each byte.
var table = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i)
		for range 8 {
			if crc&1 == 1 {
				crc = crc>>1 ^ 0xA001
			} else {
				crc >>= 1
			}
		}
		t[i] = crc
	}
	return t
}()
