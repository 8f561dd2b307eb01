package modbus

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"bordo/drivers/modbus/crc16"
)

func bytesOf(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// Whole frames from manufacturers' documents and captures.
func TestCRC(t *testing.T) {
	for _, frame := range []string{
		"01 04 00 00 00 02 71 CB",                            // Eastron
		"01 04 04 43 66 33 34 1B 38",                         // Eastron
		"83 03 00 80 00 06 DA 02",                            // Mean Well DRS, captured
		"FF 05 00 00 FF 00 99 E4",                            // Lctech relay, captured
		"01 03 08 14 04 67 00 00 00 00 00 D8 FF",             // Escort TD-500
		"01 04 0C 43 6B 5A B4 42 DC 67 20 42 48 0C 63 AF 7C", // KBR multicomp
	} {
		if !crc16.Sound(bytesOf(frame)) {
			t.Errorf("%s has the wrong checksum", frame)
		}
		for i := range bytesOf(frame) {
			bad := bytesOf(frame)
			bad[i] ^= 0x10
			if crc16.Sound(bad) {
				t.Errorf("%s with byte %d damaged is reported as valid", frame, i)
			}
		}
	}
}

func TestFindRTU(t *testing.T) {
	const request, reply = "01 04 00 00 00 02 71 CB", "01 04 04 43 66 33 34 1B 38"
	for _, c := range []struct {
		name, heard, want string
		damaged, foreign  bool
	}{
		{"an answer", reply, reply, false, false},
		{"noise before it", "FF 00 " + reply, reply, false, false},
		{"noise after it", reply + " 00", reply, false, false},
		{"noise that looks like the beginning of a reply", "01 04 " + reply, reply, true, false},
		{"noise that looks like a complete reply", "01 04 04 00 00 00 00 00 00 " + reply, reply, true, false},
		{"nothing", "", "", false, false},
		{"half of it", "01 04 04 43 66", "", false, false},
		{"damaged", "01 04 04 43 66 33 35 1B 38", "", true, false},
		{"an exception", "01 84 02 C2 C1", "01 84 02 C2 C1", false, false},
		{"an exception to another function", "01 83 02 C0 F1", "", false, false},
		{"another unit", "02 04 04 40 8B 6A 89 42 68", "", false, false},
		{"a late reply of another length, then the expected one", "01 04 02 00 01 78 F0 " + reply, reply, false, true},
		{"only a late reply of another length", "01 04 02 00 01 78 F0", "", false, true},
	} {
		frame, damaged, foreign := findRTU(bytesOf(c.heard), bytesOf(request))
		if !bytes.Equal(frame, bytesOf(c.want)) || damaged != c.damaged || (foreign != nil) != c.foreign {
			t.Errorf("%s: found % X, damaged %v, foreign %v", c.name, frame, damaged, foreign)
		}
	}
}

func TestReplySize(t *testing.T) {
	for _, c := range []struct {
		req  byte
		pdu  string
		want int
	}{
		{3, "03 04", 6}, {4, "04 FF", 257}, {1, "01 01", 3}, {3, "83", 2}, {3, "03", 0}, {3, "", 0},
		{5, "05", 5}, {6, "06", 5}, {15, "0F", 5}, {16, "10", 5}, {22, "16", 7}, {7, "07", 2},
		{17, "11 05", 7}, {23, "17 02", 4}, {24, "18 00 06", 9}, {24, "18 00", 0}, {8, "08", -1},
		// Device identification: two objects, "AB" and "C".
		{43, "2B 0E 01 01 00 00 02 00 02 41 42 01 01 43", 14},
		{43, "2B 0E 01 01 00 00 02 00 02 41 42 01", 0},
		{43, "2B 0E", 0},
	} {
		if got := replySize(c.req, bytesOf(c.pdu)); got != c.want {
			t.Errorf("function %d, %s: %d bytes, want %d", c.req, c.pdu, got, c.want)
		}
	}
}

func TestMissingBytes(t *testing.T) {
	const request = "01 04 00 00 00 02 71 CB"
	for heard, want := range map[string]int{
		"": 0, "01": 4, "01 04": 3, "01 04 04": 6, "01 04 04 43 66": 4, "01 04 04 43 66 33 34 1B": 1,
		"01 04 04 43 66 33 34 1B 38": 0,
		"01 84":                      3, "01 84 02": 2, "FF": 0, "FF 01": 4, "FF 01 04 04": 6, "02 04 04": 0,
	} {
		if got := missingBytes(bytesOf(heard), bytesOf(request)); got != want {
			t.Errorf("%s: missing %d, want %d", heard, got, want)
		}
	}
}

func TestCheckReply(t *testing.T) {
	for _, c := range []struct {
		req, pdu string
		ok       bool
	}{
		{"03 00 64 00 02", "03 04 00 01 00 02", true},
		{"03 00 64 00 02", "03 02 00 01", false},       // fewer registers than requested
		{"03 00 64 00 02", "03 04 00 01", false},       // byte count larger than the data
		{"03 00 64 00 02", "04 04 00 01 00 02", false}, // reply to another function
		{"03 00 64 00 02", "83 02", true},              // exception
		{"03 00 64 00 02", "84 02", false},             // exception to another function
		{"01 00 00 00 0A", "01 02 FF 03", true},        // ten coils in two bytes
		{"01 00 00 00 0A", "01 01 FF", false},          //
		{"05 00 01 FF 00", "05 00 01 FF 00", true},     //
		{"05 00 01 FF 00", "05 00 02 FF 00", false},    // another coil was switched
		{"06 00 01 00 07", "06 00 01 00 08", false},    // another value was written
		{"10 00 01 00 02 04 00 00 00 00", "10 00 01 00 02", true},
		{"10 00 01 00 02 04 00 00 00 00", "10 00 01 00 01", false},
	} {
		if err := checkReply(bytesOf(c.req), bytesOf(c.pdu)); (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.pdu, c.req, err)
		}
	}
}

func FuzzFindRTU(f *testing.F) {
	f.Add(bytesOf("FF 01 04 04 43 66 33 34 1B 38"), bytesOf("04 00 00 00 02"))
	f.Add(bytesOf("01 2B 0E 01 01 00 00 01 00 01 41 00 00"), bytesOf("2B 0E 01 00"))
	f.Fuzz(func(t *testing.T, heard, pdu []byte) {
		if len(pdu) == 0 || len(heard) > 600 {
			return
		}
		req := append([]byte{1}, pdu...)
		crc := crc16.Sum(req)
		req = append(req, byte(crc), byte(crc>>8))
		frame, _, _ := findRTU(heard, req)
		if frame != nil && (!crc16.Sound(frame) || frame[0] != 1 || frame[1]&^exceptionBit != pdu[0]&^exceptionBit ||
			!bytes.Contains(heard, frame)) {
			t.Errorf("found % X in % X", frame, heard)
		}
	})
}
