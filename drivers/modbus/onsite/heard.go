package onsite

import "bordo/drivers/modbus/crc16"

// frame is what a sound RTU frame tells by itself: request and answer of one unit look alike.
type frame struct {
	unit, function byte
	at, size       int
}

// minFrame is the least that is a frame: unit, function, a code and the checksum.
const minFrame = 5

// findFrames finds the RTU frames in what was heard on a line. A checksum is right by chance once in 65536 times, so only what
// also has the length that its function asks for counts.
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

// frameSizes gives the sizes that a frame which begins so can have, as a request and as an answer.
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
