package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
)

// Do implements drivers.Poller. It executes one command of the profile and writes each step once. It reads a
// register back if the profile says so; otherwise the result states what later polls must show. Do never
// repeats a command.
func (d *device) Do(ctx context.Context, port drivers.Port, c drivers.Command) drivers.Result {
	if _, ok := d.command(c.Action); !ok {
		return rejected("unknown_action", "%s does not support %q", d.profile.Title, c.Action)
	}
	p := d.beginPoll(ctx, port)
	p.readings = nil // a poll that yields to this command still uses the shared buffer
	defer p.txn.end()
	if err := p.ensureIdentified(); err != nil {
		return rejected("not_identified", "%v", err)
	}
	cmd, ok := d.command(c.Action)
	if !ok { // the commands of a SunSpec device are known only after its discovery
		return rejected("unknown_action", "this device does not support %q", c.Action)
	}
	writes, err := p.resolveSteps(cmd, c.Args)
	if err != nil {
		return rejected("bad_argument", "%v", err)
	}
	if !c.Deadline.IsZero() && !time.Now().Before(c.Deadline) {
		return drivers.Result{Outcome: drivers.Expired, Code: "expired",
			Detail: "the deadline passed before the command could be written"}
	}
	for i, w := range writes {
		if err := p.write(w.function, w.at, w.values); err != nil {
			return failedWrite(err, p.txn.sent || i > 0)
		}
	}
	return p.confirm(cmd, writes)
}

func rejected(code, format string, args ...any) drivers.Result {
	return drivers.Result{Outcome: drivers.Rejected, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// failedWrite returns the result of a write that the device did not confirm.
func failedWrite(err error, sent bool) drivers.Result {
	var e Exception
	switch {
	case errors.As(err, &e):
		return drivers.Result{Outcome: drivers.Failed, Code: fmt.Sprintf("exception_%d", e.Code), Detail: err.Error()}
	case !sent:
		return drivers.Result{Outcome: drivers.Rejected, Code: "line_down", Detail: err.Error()}
	}
	return drivers.Result{Outcome: drivers.Unknown, Code: "no_answer", Detail: err.Error()}
}

// command looks up an action in the profile and in the device's SunSpec models.
func (d *device) command(action string) (*Command, bool) {
	for i := range d.commands() {
		if c := d.commands()[i]; c.Action == action {
			return &c, true
		}
	}
	return nil, false
}

// commands lists the commands of the profile and of the device's SunSpec models.
func (d *device) commands() []Command {
	out := slices.Clone(d.profile.Commands)
	s := d.profile.SunSpec
	if s == nil {
		return out
	}
	for i := range s.Models {
		m := &s.Models[i]
		if d.chain == nil {
			out = append(out, m.Commands...) // not discovered yet: any command that this model may have
			continue
		}
		if h := d.chain.find(m.IDs); h != nil {
			for _, c := range m.Commands {
				out = append(out, placedCommand(c, h))
			}
		}
	}
	return out
}

// placedCommand moves a model's command to the model's address in this device.
func placedCommand(c Command, h *header) Command {
	c.Steps = slices.Clone(c.Steps)
	for i := range c.Steps {
		c.Steps[i].At.Number += h.at
		moveField(&c.Steps[i].Field, h.at)
	}
	if c.Check != nil && c.Check.Field != nil {
		k, f := *c.Check, *c.Check.Field
		moveField(&f, h.at)
		k.Field = &f
		c.Check = &k
	}
	return c
}

// ensureIdentified checks the device's identity unless that was already done on this connection.
func (p *poll) ensureIdentified() error {
	d := p.device
	if err := p.txn.ensureConnected(); err != nil {
		return err
	}
	if d.checked && d.checkedOn == d.bus.connection && d.items != nil && (d.chain == nil || !d.chain.moved) {
		return nil
	}
	if d.items == nil || d.chain != nil && d.chain.moved {
		if err := p.discover(); err != nil {
			return err
		}
	}
	for i := range d.profile.Identify {
		if err := p.runTest(&d.profile.Identify[i]); err != nil {
			return err
		}
	}
	if c := d.chain; c != nil {
		if err := p.checkSerial(c); err != nil {
			return err
		}
	}
	if !d.bus.line.Stream && !d.bus.heardAny && len(d.items) > 0 {
		// Read something first. Only a read shows whether the line echoes, and an echo looks like the
		// confirmation of a write.
		if _, err := p.read(p.rules.toEven(d.items[0].Span())); err != nil && !isRefusal(err) {
			return err
		}
	}
	d.checked, d.checkedOn = true, d.bus.connection
	return nil
}

// runTest reads one field that identifies the model and returns an error if its value differs.
func (p *poll) runTest(t *Test) error {
	a, err := p.read(p.rules.toEven(t.Span()))
	if err != nil {
		return err
	}
	if !t.holds(a) {
		return fmt.Errorf("%v holds % X: this is not a %s", t.At, a.Data, p.profile.Title)
	}
	return nil
}

// checkSerial reads the serial number again and returns an error if it has changed.
func (p *poll) checkSerial(c *chain) error {
	known := p.identity[selfSerial]
	for _, it := range p.commonItems(&c.models[0]) {
		if it.Key != selfSerial {
			continue
		}
		a, err := p.read(it.valueSpan())
		if err != nil {
			return err
		}
		p.decodeIdentity(it, a)
	}
	if now := p.reported[selfSerial]; known != "" && known != now {
		return fmt.Errorf("serial number %s instead of %s: another device", now, known)
	}
	return nil
}

// write is one step of a command with its arguments applied.
type write struct {
	function byte
	at       Address
	values   []uint16
}

// resolveSteps checks the arguments and turns a command into writes. An unused argument is an error.
func (p *poll) resolveSteps(c *Command, args map[string]any) ([]write, error) {
	used := map[string]bool{}
	var out []write
	for _, s := range c.Steps {
		w := write{function: s.Function, at: s.At, values: []uint16{uint16(s.Value)}}
		if ch := s.Choose; ch != nil {
			n, err := argument(args, ch.Arg, float64(ch.First), float64(ch.First+ch.Count-1))
			if err != nil {
				return nil, err
			}
			if n != float64(int(n)) {
				return nil, fmt.Errorf("%s must be a whole number (got %v)", ch.Arg, n)
			}
			w.at.Number += uint16((int(n) - ch.First) * ch.Stride)
			used[ch.Arg] = true
		}
		if a := s.Arg; a != nil {
			x, err := argument(args, a.Name, a.Range[0], a.Range[1])
			if err != nil {
				return nil, err
			}
			sf, err := p.readFactor(s.Field.SF)
			if err != nil {
				return nil, err
			}
			if w.values, err = s.Field.Encode(catalogue.Number(x), sf); err != nil {
				return nil, err
			}
			used[a.Name] = true
		}
		out = append(out, w)
	}
	for name := range args {
		if !used[name] {
			return nil, fmt.Errorf("%s takes no argument %q", c.Action, name)
		}
	}
	return out, nil
}

// readFactor reads the scale factor of an argument.
func (p *poll) readFactor(at *Address) (int, error) {
	if at == nil {
		return 0, nil
	}
	a, err := p.read(p.rules.toEven(Span{at.Table, at.Number, 1}))
	if err != nil {
		return 0, err
	}
	f := Field{At: *at, Type: I16, Length: 1}
	v, _ := f.Decode(a, catalogue.Float)
	sf := int(v.Float())
	if v.Type() == catalogue.None || sf < -maxFactor || sf > maxFactor {
		return 0, fmt.Errorf("scale factor at %v is %v", *at, v)
	}
	return sf, nil
}

func argument(args map[string]any, name string, low, high float64) (float64, error) {
	var x float64
	switch v := args[name].(type) {
	case float64:
		x = v
	case int:
		x = float64(v)
	case int64:
		x = float64(v)
	default:
		return 0, fmt.Errorf("%s must be a number from %v to %v (got %v)", name, low, high, args[name])
	}
	if !(x >= low && x <= high) {
		return 0, fmt.Errorf("%s must be from %v to %v (got %v)", name, low, high, x)
	}
	return x, nil
}

// confirm reads back what was written, or returns which values later polls must show.
func (p *poll) confirm(c *Command, writes []write) drivers.Result {
	k := c.Check
	if k == nil {
		return drivers.Result{Outcome: drivers.Done, Code: "accepted", Detail: "the device confirmed the write"}
	}
	if k.Field == nil {
		return drivers.Result{Outcome: drivers.Accepted, Code: "accepted", Detail: "the device confirmed the write",
			Expect: &drivers.Expectation{Point: k.Point, Words: k.Words, Within: k.Within, Interval: k.Interval}}
	}
	var last catalogue.Value
	for until := time.Now().Add(k.Within); ; {
		v, ok, err := p.readBack(k, writes)
		switch {
		case err != nil && (drivers.PortLost(err) || p.ctx().Err() != nil):
			return drivers.Result{Outcome: drivers.Unknown, Code: "not_confirmed", Detail: err.Error()}
		case err == nil && ok:
			return drivers.Result{Outcome: drivers.Done, Code: "confirmed", Detail: "read back " + v.String(),
				Value: plainValue(v)}
		case err == nil:
			last = v
		}
		if !time.Now().Add(k.Interval).Before(until) {
			return drivers.Result{Outcome: drivers.Unknown, Code: "not_confirmed", Value: plainValue(last),
				Detail: fmt.Sprintf("accepted, but after %v the device reports %v instead of the written value",
					k.Within, last)}
		}
		if err := p.txn.pause(time.Now().Add(k.Interval)); err != nil {
			return drivers.Result{Outcome: drivers.Unknown, Code: "not_confirmed", Detail: err.Error()}
		}
	}
}

// readBack reads the written field and reports whether it holds what was written.
func (p *poll) readBack(k *Check, writes []write) (catalogue.Value, bool, error) {
	a, err := p.read(p.rules.toEven(k.Field.Span()))
	if err != nil {
		return catalogue.Value{}, false, err
	}
	raw := a.register(k.Field.At.Number, k.Field.Length)
	v, _ := k.Field.Decode(a, catalogue.Float)
	return v, raw != nil && sameRegisters(raw, writes[0].values), nil
}

func sameRegisters(raw []byte, values []uint16) bool {
	if len(raw) != 2*len(values) {
		return false
	}
	for i, v := range values {
		if raw[2*i] != byte(v>>8) || raw[2*i+1] != byte(v) {
			return false
		}
	}
	return true
}

// plainValue converts a value to a plain Go value for a drivers.Result.
func plainValue(v catalogue.Value) any {
	switch v.Type() {
	case catalogue.Float:
		return v.Float()
	case catalogue.Bool:
		return v.Bool()
	case catalogue.Text:
		return v.Text()
	}
	return nil
}
