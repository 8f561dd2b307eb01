package golden

import (
	"bytes"
	"fmt"
	"strings"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
)

// minSerial is the shortest text that is treated as a serial number. Shorter ones identify nobody and would
// match everywhere.
const minSerial = 4

// FromCapture makes the file of a poll. It masks every serial number in the frames, whose checksums it
// corrects, and in the identity. It returns an error if the poll was incomplete, because then it is unknown
// what must be masked.
func FromCapture(p *modbus.Profile, dev drivers.Device, stream bool, rep drivers.Report,
	exchanges []modbus.Exchange) (*File, error) {
	if rep.Err != nil {
		return nil, fmt.Errorf("capture %s: the poll was incomplete: %w", dev.ID, rep.Err)
	}
	if rep.Description == nil {
		return nil, fmt.Errorf("capture %s: the device did not report its identity", dev.ID)
	}
	f := &File{Origin: Capture, Model: p.Model, Stream: stream}
	for _, x := range exchanges {
		f.Exchanges = append(f.Exchanges, modbus.Exchange{Request: bytes.Clone(x.Request),
			Answer: bytes.Clone(x.Answer)})
	}
	serial, err := f.mask(p, rep.Description.Serial)
	if err != nil {
		return nil, fmt.Errorf("capture %s: %w", dev.ID, err)
	}
	for _, r := range rep.Readings {
		f.Readings = append(f.Readings, Line{r.Point, valueText(r.Value)})
	}
	for _, l := range []Line{{"maker", rep.Description.Maker}, {"model", rep.Description.Model}, {"serial", serial},
		{"firmware", rep.Description.Firmware}} {
		if l.Text != "" {
			f.Identity = append(f.Identity, l)
		}
	}
	for _, tap := range dev.ChannelMaps {
		text := tap.Channel
		switch {
		case tap.From != tap.To:
			return nil, fmt.Errorf("capture %s: %s is scaled, which the file format cannot express", dev.ID, tap.Point)
		case tap.Invert:
			text += " inverted"
		}
		f.Channels = append(f.Channels, Line{tap.Point, text})
	}
	return f, nil
}

func valueText(v catalogue.Value) string {
	if v.Type() == catalogue.Text && v.Text() == "" {
		return `""`
	}
	return v.String()
}

// mask replaces the serial number in all replies and returns the masked text.
func (f *File) mask(p *modbus.Profile, serial string) (string, error) {
	masked, found := serial, false
	if n := p.Identity.Serial; n != nil && n.Field != nil && n.Field.Type != modbus.String {
		var err error
		if masked, err = f.maskNumber(n.Field); err != nil {
			return "", err
		}
		found = masked != ""
	}
	if len(serial) < minSerial {
		return masked, nil
	}
	hidden := strings.Map(maskRune, serial)
	hits := f.replace([]byte(serial), []byte(hidden)) + f.replace(swapped(serial), swapped(hidden))
	if hits == 0 && !found {
		return "", fmt.Errorf("the serial number is not found in the frames, so it cannot be masked")
	}
	if !found {
		masked = hidden
	}
	return masked, nil
}

// maskNumber overwrites a numeric serial number and returns its new text. It writes ones, which are valid in
// every encoding.
func (f *File) maskNumber(field *modbus.Field) (string, error) {
	text := ""
	for i := range f.Exchanges {
		a, ok := f.answer(i)
		if !ok || a.Table != field.At.Table || a.First > field.At.Number ||
			a.End() < int(field.At.Number)+field.Length {
			continue
		}
		at := 2 * int(field.At.Number-a.First)
		for j := range field.Length {
			a.Data[at+2*j], a.Data[at+2*j+1] = 0, 1
		}
		fixChecksum(f.Exchanges[i].Answer, f.Stream)
		v, _ := field.Decode(a, catalogue.Text)
		if text = v.Text(); text == "" {
			return "", fmt.Errorf("the serial number at %v cannot be masked", field.At)
		}
	}
	return text, nil
}

// maskRune replaces digits by 0 and letters by X, so that only the format remains visible.
func maskRune(r rune) rune {
	switch {
	case r >= '0' && r <= '9':
		return '0'
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
		return 'X'
	}
	return r
}

// swapped returns a text as written by devices that put the low byte of a register first.
func swapped(text string) []byte {
	b := []byte(text)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	for i := 0; i < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	return b
}

// replace replaces old by a text of the same length in the data of all replies and returns the number of
// replacements.
func (f *File) replace(old, by []byte) int {
	hits := 0
	for i := range f.Exchanges {
		a, ok := f.answer(i)
		if !ok {
			continue
		}
		for at := 0; ; {
			n := bytes.Index(a.Data[at:], old)
			if n < 0 {
				break
			}
			at += n
			at += copy(a.Data[at:], by)
			hits++
		}
		fixChecksum(f.Exchanges[i].Answer, f.Stream)
	}
	return hits
}

// answer returns what exchange i read, with Data pointing into its frame; false if it was refused or was not
// a read.
func (f *File) answer(i int) (modbus.Answer, bool) {
	x := f.Exchanges[i]
	if x.Answer == nil {
		return modbus.Answer{}, false
	}
	_, req, err1 := Open(x.Request, f.Stream)
	_, pdu, err2 := Open(x.Answer, f.Stream)
	if err1 != nil || err2 != nil {
		return modbus.Answer{}, false
	}
	return Read(req, pdu)
}

// Read returns the content of a reply to a read request; false if it is an exception or the request is not a
// read.
func Read(req, pdu []byte) (modbus.Answer, bool) {
	tables := map[byte]modbus.Table{1: modbus.Coil, 2: modbus.Discrete, 3: modbus.Holding, 4: modbus.Input}
	if len(req) != 5 || len(pdu) < 3 || pdu[0] != req[0] || tables[req[0]] == 0 {
		return modbus.Answer{}, false
	}
	s := modbus.Span{Table: tables[req[0]], First: uint16(req[1])<<8 | uint16(req[2]),
		Count: int(req[3])<<8 | int(req[4])}
	want := 2 * s.Count
	if s.Table.Bits() {
		want = (s.Count + 7) / 8
	}
	if want == 0 || len(pdu)-2 != want || int(pdu[1]) != want || s.End() > 1<<16 {
		return modbus.Answer{}, false
	}
	return modbus.Answer{Span: s, Data: pdu[2:]}, true
}

// Registers returns the unit id and every register and bit that the device returned. If one was returned
// twice, the last value counts.
func (f *File) Registers() (unit byte, cells map[modbus.Address]uint16) {
	cells = map[modbus.Address]uint16{}
	for i, x := range f.Exchanges {
		unit, _, _ = Open(x.Request, f.Stream)
		a, ok := f.answer(i)
		if !ok {
			continue
		}
		for j := range a.Count {
			v := uint16(0)
			if a.Table.Bits() {
				v = uint16(a.Data[j/8] >> (j % 8) & 1)
			} else {
				v = uint16(a.Data[2*j])<<8 | uint16(a.Data[2*j+1])
			}
			cells[modbus.Address{Table: a.Table, Number: a.First + uint16(j)}] = v
		}
	}
	return unit, cells
}
