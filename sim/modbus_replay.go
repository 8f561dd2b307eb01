package sim

import (
	"encoding/binary"
	"fmt"
	"os"

	"bordo/drivers/catalogue"
	"bordo/drivers/modbus"
	"bordo/drivers/modbus/golden"
	"bordo/drivers/modbus/slave"
)

// exceptions of a device that is replayed.
const (
	illegalFunction = 1
	illegalAddress  = 2
)

// replay answers as a device did when it was captured: a recorded request gets its recorded answer, others are
// assembled from the registers that were seen, and what was not read then is refused.
type replay struct {
	said  map[string][]byte // answers by request, without unit and checksum
	cells map[modbus.Address]uint16
}

var _ slave.Answerer = (*replay)(nil)

func newReplay(f *golden.File) *replay {
	_, cells := f.Registers()
	r := &replay{said: map[string][]byte{}, cells: cells}
	for _, x := range f.Exchanges {
		_, request, err := golden.Open(x.Request, f.Stream)
		if err != nil {
			continue
		}
		if _, answer, err := golden.Open(x.Answer, f.Stream); err == nil {
			r.said[string(request)] = answer
		}
	}
	return r
}

// Answer implements slave.Answerer.
func (r *replay) Answer(pdu []byte) []byte {
	if answer, ok := r.said[string(pdu)]; ok {
		return answer
	}
	if len(pdu) != 5 || pdu[0] < 1 || pdu[0] > 4 {
		return []byte{pdu[0] | 0x80, illegalFunction} // a recording cannot be written to
	}
	table := [...]modbus.Table{modbus.Coil, modbus.Discrete, modbus.Holding, modbus.Input}[pdu[0]-1]
	first, count := binary.BigEndian.Uint16(pdu[1:]), int(binary.BigEndian.Uint16(pdu[3:]))
	words := make([]uint16, 0, min(count, 2000))
	for i := range count {
		v, ok := r.cells[modbus.Address{Table: table, Number: first + uint16(i)}]
		if !ok || i == 2000 {
			return []byte{pdu[0] | 0x80, illegalAddress}
		}
		words = append(words, v)
	}
	var data []byte
	if table.Bits() {
		data = packed(words)
	} else {
		for _, w := range words {
			data = binary.BigEndian.AppendUint16(data, w)
		}
	}
	return append([]byte{pdu[0], byte(len(data))}, data...)
}

// replayBody is the physical side of a device that is only remembered: nothing in it moves.
type replayBody struct{}

func (replayBody) move(*moment)                         {}
func (replayBody) points(func(string, catalogue.Value)) {}
func (replayBody) dead() bool                           { return false }
func (replayBody) reset()                               {}

// readCapture reads a recorded conversation.
func readCapture(path string) (*golden.File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	f, err := golden.Parse(path, text)
	if err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	if len(f.Exchanges) == 0 {
		return nil, fmt.Errorf("read capture %s: nothing was exchanged", path)
	}
	return f, nil
}

// FromCapture creates a scenario from a recorded conversation (a .txtar file of bordo capture): one device that gives
// the recorded answers. model names the profile where the file does not.
func FromCapture(path, model string) (*Scenario, error) {
	f, err := readCapture(path)
	if err != nil {
		return nil, err
	}
	if model = or(f.Model, model); model == "" {
		return nil, fmt.Errorf("replay %s: the file does not say of which model it is; --model does", path)
	}
	profile, err := modbus.Named(model)
	if err != nil {
		return nil, fmt.Errorf("replay %s: %w", path, err)
	}
	unit, _ := f.Registers()
	s := &Scenario{Version: 1, Name: "capture", About: fmt.Sprintf("what %s said: %s", profile.Title, path),
		Site: Place{Name: "Capture"},
		Lines: []Line{{ID: "line", Port: "tcp://10.0.0.1:502", Devices: []Device{
			{ID: "device", Model: profile.Model, Unit: int(unit), Every: profile.Every, From: path}}}}}
	if !f.Stream {
		s.Lines[0].Port = "serial:///dev/sim/line?" + profile.Bus
	}
	for _, tap := range f.Channels {
		s.Lines[0].Devices[0].IO = append(s.Lines[0].Devices[0].IO, Channel{Point: tap.Name, At: tap.Text, Is: "value"})
	}
	return s, s.Check()
}
