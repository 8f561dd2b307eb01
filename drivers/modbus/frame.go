package modbus

import (
	"encoding/binary"
	"fmt"

	"bordo/drivers/modbus/crc16"
)

// Sizes of frames.
const (
	mbapSize     = 6   // transaction, protocol and length, before the unit id
	maxADU       = 260 // of Modbus TCP; an RTU frame has at most 256 bytes
	exceptionBit = 0x80
)

// replySize is how many bytes the answer that begins with pdu has in all, as far as its first bytes tell: 0 when more
// bytes are needed, -1 when the function does not tell its length. req is the function that was asked for.
func replySize(req byte, pdu []byte) int {
	if len(pdu) == 0 {
		return 0
	}
	if pdu[0] == req|exceptionBit {
		return 2
	}
	switch req {
	case 1, 2, 3, 4, 17, 23:
		if len(pdu) < 2 {
			return 0
		}
		return 2 + int(pdu[1])
	case 5, 6, 15, 16:
		return 5
	case 7:
		return 2
	case 22:
		return 7
	case 24:
		if len(pdu) < 3 {
			return 0
		}
		return 3 + int(binary.BigEndian.Uint16(pdu[1:]))
	case 43:
		return identificationSize(pdu)
	}
	return -1
}

// identificationSize walks the objects of a device identification (function 43, type 14).
func identificationSize(pdu []byte) int {
	const head = 7 // function, type, code, conformity, more, next, count
	if len(pdu) < head {
		return 0
	}
	size := head
	for range pdu[6] {
		if len(pdu) < size+2 {
			return 0
		}
		size += 2 + int(pdu[size+1])
	}
	return size
}

// expectedReplySize is the length of the answer to a request that goes well, 0 where it cannot be told beforehand.
func expectedReplySize(req []byte) int {
	if len(req) < 5 {
		return 0
	}
	count := int(binary.BigEndian.Uint16(req[3:]))
	switch req[0] {
	case 1, 2:
		return 2 + (count+7)/8
	case 3, 4:
		return 2 + 2*count
	case 5, 6, 15, 16:
		return 5
	}
	return 0
}

// checkReply tells what keeps an answer from being that to the request: another function, another number of
// registers, another address. An exception fits when its function is the one that was asked for.
func checkReply(req, pdu []byte) error {
	switch {
	case len(pdu) == 2 && pdu[0] == req[0]|exceptionBit:
		return nil
	case len(pdu) < 2 || pdu[0] != req[0]:
		return fmt.Errorf("asked with function %d, answered with % X", req[0], pdu[:min(len(pdu), 4)])
	}
	if want := expectedReplySize(req); want != 0 && len(pdu) != want {
		return fmt.Errorf("asked for %d bytes, got %d", want-2, len(pdu)-2)
	}
	switch req[0] {
	case 1, 2, 3, 4:
		if int(pdu[1]) != len(pdu)-2 {
			return fmt.Errorf("counts %d bytes and holds %d", pdu[1], len(pdu)-2)
		}
	case 5, 6:
		if string(pdu) != string(req) {
			return fmt.Errorf("wrote % X, confirmed % X", req, pdu)
		}
	case 15, 16:
		if string(pdu[1:5]) != string(req[1:5]) {
			return fmt.Errorf("wrote % X, confirmed % X", req[:5], pdu)
		}
	}
	return nil
}

// findRTU looks for the answer to req in what was heard on a serial line. It skips what stands before it: noise of the
// turnaround, an answer that belongs to another request. It returns the frame, nil while there is none; damaged tells that
// something began like an answer and its checksum was wrong, foreign what a whole frame had that did not fit.
func findRTU(heard, req []byte) (frame []byte, damaged bool, foreign error) {
	for i := 0; i+4 <= len(heard); i++ {
		if heard[i] != req[0] || heard[i+1]&^exceptionBit != req[1] {
			continue
		}
		rest := heard[i:]
		size := replySize(req[1], rest[1:])
		if size < 0 {
			size = shortestSoundPDU(rest)
		}
		if size <= 0 || size+3 > len(rest) {
			continue // its end has not come yet, or this is not its beginning
		}
		whole := rest[:size+3]
		if !crc16.Sound(whole) {
			if whole = unpadException(rest, req[1]); whole == nil {
				damaged = true
				continue
			}
		}
		if err := checkReply(req[1:len(req)-2], whole[1:len(whole)-2]); err != nil {
			foreign = err
			i += len(whole) - 1
			continue
		}
		return whole, damaged, foreign
	}
	return nil, damaged, foreign
}

// maxPadding is how many bytes a refusal may have between its code and its checksum.
const maxPadding = 8

// unpadException gives the refusal of a function that rest begins with when bytes stand between its code and its checksum; nil when
// there is none.
func unpadException(rest []byte, function byte) []byte {
	const shortest = 5
	if rest[1] != function|exceptionBit {
		return nil
	}
	for n := shortest + 1; n <= min(len(rest), shortest+maxPadding); n++ {
		if crc16.Sound(rest[:n]) {
			whole := append([]byte{}, rest[:3]...)
			return crc16.Append(whole)
		}
	}
	return nil
}

// otherUnit finds the answer of another unit to the question in req; 0 when there is none.
func otherUnit(heard, req []byte) byte {
	for i := 0; i+5 <= len(heard); i++ {
		if heard[i] == req[0] || heard[i] == 0 || heard[i+1]&^exceptionBit != req[1] {
			continue
		}
		size := replySize(req[1], heard[i+1:])
		if size <= 0 || i+size+3 > len(heard) || !crc16.Sound(heard[i:i+size+3]) {
			continue
		}
		if checkReply(req[1:len(req)-2], heard[i+1:i+size+1]) == nil {
			return heard[i]
		}
	}
	return 0
}

// missingBytes is how many bytes what was heard lacks at least to be the answer to req, 0 where that cannot be told.
func missingBytes(heard, req []byte) int {
	const shortest = 5 // an exception
	for i := range heard {
		rest := heard[i:]
		if rest[0] != req[0] || len(rest) > 1 && rest[1]&^exceptionBit != req[1] {
			continue
		}
		size := shortest
		if n := replySize(req[1], rest[1:]); n < 0 {
			return 0
		} else if n > 0 {
			size = n + 3
		}
		if len(rest) < size {
			return size - len(rest)
		}
	}
	return 0
}

// shortestSoundPDU is the size of the PDU of the shortest sound frame that rest begins with, 0 if there is none.
func shortestSoundPDU(rest []byte) int {
	for n := 4; n <= len(rest); n++ {
		if crc16.Sound(rest[:n]) {
			return n - 3
		}
	}
	return 0
}
