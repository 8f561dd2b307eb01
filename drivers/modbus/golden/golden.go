// Package golden is the text format of a recorded conversation with a device: the frames in both directions
// and the readings that they must give. Such files prove profiles (../testdata/<model>/*.txtar, where the
// format is described), bordo capture writes them on site, and the simulator replays them.
//
// Format and Parse are inverse to each other, and Parse rejects files with damaged frames. The package uses
// no port and no clock and does not check the readings; the golden test does.
package golden

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/crc16"
)

// Origins are the possible origins of frames. Only the first three prove anything.
var Origins = []string{Capture, "vendor-example", "other-implementation", "synthesised"}

// Capture is the origin of frames that were recorded from a device.
const Capture = "capture"

// MaxFile is the largest file size in bytes.
const MaxFile = 1 << 20

// File is a conversation with one unit.
type File struct {
	About     []string // remarks, one per line
	Origin    string   // one of Origins
	Source    string   // document and page, project and file, or who captured it
	Model     string   // set in captures; a golden case has the name of its directory
	Stream    bool     // Modbus TCP frames; false: RTU
	Others    []Line   // other keys of the head, such as quirks:
	Exchanges []modbus.Exchange
	Readings  []Line
	Identity  []Line // maker, model, serial, firmware
	Channels  []Line // point and channel of an I/O module
}

// Line is one line of a table: a name and the text after it.
type Line struct{ Name, Text string }

// Fault is a fault in a file, with its position.
type Fault struct {
	File string
	Line int
	Text string // what is wrong and what is allowed
}

// Error formats the fault as file:line: text.
func (f *Fault) Error() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text) }

// Parse reads a file. The error is a *Fault with name as the file.
func Parse(name string, text []byte) (*File, error) {
	if len(text) > MaxFile {
		return nil, &Fault{name, 1, fmt.Sprintf("must be at most %d bytes (got %d)", MaxFile, len(text))}
	}
	f, part, n := &File{}, "", 0
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, MaxFile)
	for lines.Scan() {
		n++
		line := strings.TrimSpace(lines.Text())
		if p, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(p, " --") {
			part = strings.TrimSuffix(p, " --")
			continue
		}
		if err := f.parseLine(part, line); err != nil {
			return nil, &Fault{name, n, err.Error()}
		}
	}
	if err := f.checkComplete(); err != nil {
		return nil, &Fault{name, max(n, 1), err.Error()}
	}
	return f, nil
}

// parseLine parses one line of a section.
func (f *File) parseLine(part, text string) error {
	remark, isRemark := strings.CutPrefix(text, "#")
	switch {
	case text == "":
		return nil
	case isRemark && part == "":
		f.About = append(f.About, strings.TrimSpace(remark))
		return nil
	case isRemark:
		return nil
	}
	word, rest, _ := strings.Cut(text, " ")
	line := Line{word, strings.TrimSpace(rest)}
	switch part {
	case "":
		return f.parseHead(line)
	case "frames":
		return f.parseFrame(text)
	case "readings":
		if _, ok := catalogue.PointOf(word); !ok {
			return fmt.Errorf("%q is not a point of the catalogue", word)
		}
		f.Readings = append(f.Readings, line)
	case "identity":
		f.Identity = append(f.Identity, line)
	case "taps":
		f.Channels = append(f.Channels, line)
	case "commands": // commands say nothing about the device
	default:
		return fmt.Errorf("unknown part %q: want frames, readings, identity, taps or commands", part)
	}
	return nil
}

func (f *File) parseHead(l Line) error {
	switch l.Name {
	case "origin:":
		f.Origin = l.Text
	case "source:":
		f.Source = l.Text
	case "model:":
		f.Model = l.Text
	case "line:":
		if l.Text != "rtu" && l.Text != "tcp" {
			return fmt.Errorf("line must be rtu or tcp (got %q)", l.Text)
		}
		f.Stream = l.Text == "tcp"
	default:
		if !strings.HasSuffix(l.Name, ":") {
			return fmt.Errorf("must be a key and a colon, such as origin:, or # before a remark (got %q)", l.Name)
		}
		f.Others = append(f.Others, l)
	}
	return nil
}

// parseFrame parses "> 03 04 ..." or "< 03 04 ...".
func (f *File) parseFrame(text string) error {
	b, err := hex.DecodeString(strings.Join(strings.Fields(text[1:]), ""))
	if err != nil {
		return fmt.Errorf("not bytes in hexadecimal: %q", text[1:])
	}
	if _, _, err := Open(b, f.Stream); err != nil {
		return err
	}
	n := len(f.Exchanges)
	switch {
	case text[0] == '>':
		f.Exchanges = append(f.Exchanges, modbus.Exchange{Request: b})
		return nil
	case text[0] != '<':
		return fmt.Errorf("a frame begins with > for a request or < for an answer (got %q)", text)
	case n == 0 || f.Exchanges[n-1].Answer != nil:
		return fmt.Errorf("an answer must follow its request")
	}
	f.Exchanges[n-1].Answer = b
	return nil
}

func (f *File) checkComplete() error {
	switch {
	case !slices.Contains(Origins, f.Origin):
		return fmt.Errorf("origin must be %s (got %q)", strings.Join(Origins, ", "), f.Origin)
	case f.Source == "":
		return fmt.Errorf("source is missing: state where the frames are from")
	case len(f.Exchanges) == 0:
		return fmt.Errorf("there are no frames")
	}
	return nil
}

// Format returns the text of the file.
func (f *File) Format() []byte {
	var b strings.Builder
	for _, a := range f.About {
		b.WriteString("# " + a + "\n")
	}
	line := "rtu"
	if f.Stream {
		line = "tcp"
	}
	for _, l := range append([]Line{{"origin:", f.Origin}, {"source:", f.Source}, {"model:", f.Model},
		{"line:", line}}, f.Others...) {
		if l.Text != "" {
			b.WriteString(l.Name + " " + l.Text + "\n")
		}
	}
	b.WriteString("-- frames --\n")
	for _, x := range f.Exchanges {
		fmt.Fprintf(&b, "> % X\n", x.Request)
		if x.Answer != nil {
			fmt.Fprintf(&b, "< % X\n", x.Answer)
		}
	}
	for _, part := range []struct {
		name  string
		lines []Line
	}{{"readings", f.Readings}, {"identity", f.Identity}, {"taps", f.Channels}} {
		if len(part.lines) == 0 {
			continue
		}
		fmt.Fprintf(&b, "-- %s --\n", part.name)
		for _, l := range part.lines {
			b.WriteString(l.Name + " " + l.Text + "\n")
		}
	}
	return []byte(b.String())
}

// mbapSize is the size of a Modbus TCP header without the unit id.
const mbapSize = 6

// Open returns the unit id and PDU of a frame, or an error if the frame is invalid.
func Open(frame []byte, stream bool) (unit byte, pdu []byte, err error) {
	if stream {
		if len(frame) < mbapSize+3 || len(frame) > mbapSize+254 {
			return 0, nil, fmt.Errorf("a tcp frame has %d to %d bytes (got %d)", mbapSize+3, mbapSize+254, len(frame))
		}
		if n := int(binary.BigEndian.Uint16(frame[4:])); frame[2] != 0 || frame[3] != 0 || n != len(frame)-mbapSize {
			return 0, nil, fmt.Errorf("the head % X does not fit a tcp frame with %d bytes after it", frame[:mbapSize],
				len(frame)-mbapSize)
		}
		return frame[mbapSize], frame[mbapSize+1:], nil
	}
	end := len(frame) - 2
	if end < 3 || end > 254 {
		return 0, nil, fmt.Errorf("an rtu frame has 5 to 256 bytes (got %d)", len(frame))
	}
	if want := crc16.Sum(frame[:end]); binary.LittleEndian.Uint16(frame[end:]) != want {
		return 0, nil, fmt.Errorf("the checksum must be %02X %02X (got % X)", want&0xFF, want>>8, frame[end:])
	}
	return frame[0], frame[1:end], nil
}

// fixChecksum recomputes the checksum after a frame was changed.
func fixChecksum(frame []byte, stream bool) {
	if !stream {
		end := len(frame) - 2
		binary.LittleEndian.PutUint16(frame[end:], crc16.Sum(frame[:end]))
	}
}
