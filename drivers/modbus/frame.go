package modbus

import (
	"encoding/binary"
	"fmt"

	"bordo/drivers/modbus/crc16"
)

// Frame sizes in bytes.
const (
	mbapSize     = 6   // transaction id, protocol and length, before the unit id
	maxADU       = 260 // Modbus TCP; an RTU frame has at most 256
	exceptionBit = 0x80
)

// replySize returns the total size of the reply PDU that begins with pdu. It returns 0 if more bytes are
// needed to decide, and -1 if replies to this function do not state their length. req is the requested
// function.
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

// identificationSize returns the size of a device identification (function 43, type 14) by walking its
// objects.
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

// expectedReplySize returns the size of a successful reply PDU to a request, 0 if the request does not
// determine it.
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

// checkReply returns an error if pdu cannot be the reply to req: another function, number of registers or
// address. An exception matches if it is for the requested function.
func checkReply(req, pdu []byte) error {
	switch {
	case len(pdu) == 2 && pdu[0] == req[0]|exceptionBit:
		return nil
	case len(pdu) < 2 || pdu[0] != req[0]:
		return fmt.Errorf("sent function %d, received % X", req[0], pdu[:min(len(pdu), 4)])
	}
	if want := expectedReplySize(req); want != 0 && len(pdu) != want {
		return fmt.Errorf("requested %d bytes, received %d", want-2, len(pdu)-2)
	}
	switch req[0] {
	case 1, 2, 3, 4:
		if int(pdu[1]) != len(pdu)-2 {
			return fmt.Errorf("byte count %d, but %d bytes of data", pdu[1], len(pdu)-2)
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

// findRTU searches the bytes received on a serial line for the reply to req. It skips what precedes the
// reply, such as noise from switching the line's direction or a reply to another request. frame is nil if
// there is no reply yet. damaged is true if bytes looked like a reply but had a wrong checksum. foreign
// describes why a complete frame did not match.
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
			continue // incomplete so far, or not the beginning of a reply
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

// maxPadding is the largest number of extra bytes accepted between the code and the checksum of an exception.
const maxPadding = 8

// unpadException returns the exception at the beginning of rest without the extra bytes that some devices
// send between its code and its checksum; nil if there is none.
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

// otherUnit returns the unit id of a reply to this request from another unit; 0 if there is none.
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

// missingBytes returns how many bytes at least are missing to complete the reply to req; 0 if unknown.
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

// shortestSoundPDU returns the PDU size of the shortest frame with a valid checksum at the beginning of rest;
// 0 if there is none.
func shortestSoundPDU(rest []byte) int {
	for n := 4; n <= len(rest); n++ {
		if crc16.Sound(rest[:n]) {
			return n - 3
		}
	}
	return 0
}
