package onsite

import "bordo/drivers/modbus/crc16"

// frame is a valid RTU frame. A request and a reply of the same unit cannot be distinguished.
type frame struct {
	unit, function byte
	at, size       int
}

// minFrame is the size of the shortest frame: unit id, function, a code and the checksum.
const minFrame = 5

// findFrames returns the RTU frames in the received bytes. A checksum is correct by chance once in 65536
// times, so a frame must also have a length that its function allows.
func findFrames(heard []byte) []frame {
	var out []frame
	for i := 0; i+minFrame <= len(heard); {
		size := 0
		for _, n := range frameSizes(heard[i:]) {
			if n <= len(heard)-i && crc16.Sound(heard[i:i+n]) {
				size = n
				break
			}
		}
		if size == 0 {
			i++
			continue
		}
		out = append(out, frame{heard[i], heard[i+1], i, size})
		i += size
	}
	return out
}

// frameSizes returns the possible sizes of a frame that begins with b, as a request and as a reply.
func frameSizes(b []byte) []int {
	if b[0] > maxUnit {
		return nil
	}
	switch f := b[1]; {
	case f >= 0x81 && f <= 0xAB:
		return []int{5}
	case f >= 1 && f <= 4:
		return []int{8, 5 + int(b[2])}
	case f == 5 || f == 6:
		return []int{8}
	case f == 15 || f == 16:
		if len(b) > 6 {
			return []int{8, 9 + int(b[6])}
		}
		return []int{8}
	}
	return nil
}

// noiseBytes counts the bytes that belong to no frame.
func noiseBytes(heard []byte, frames []frame) int {
	n := len(heard)
	for _, f := range frames {
		n -= f.size
	}
	return n
}
