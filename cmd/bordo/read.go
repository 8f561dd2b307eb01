package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"

	"bordo/agent"
	"bordo/agent/api"
	"bordo/agent/config"
	"bordo/agent/phases"
	"bordo/cmd/terminal"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/line"
)

func readCommand(l *langValue) command {
	return command{
		name:     "read",
		brief:    phrase("reads a device once, or registers as they are").in(l),
		takes:    phrase("[DEVICE]").in(l),
		most:     1,
		complete: firstOf(deviceNames),
		text: phrase(`Reads a configured device once, through the running agent where there is one, and prints what it says. With --raw it
reads registers of any device: a port URL, a unit id, one of --holding, --input, --coil and --discrete with the first
address as it stands in the frame (decimal or 0x), and how many. It only reads.

  bordo read meter-1
  bordo read --raw tcp://192.168.1.40 --unit 1 --holding 40000 --count 10
  bordo read --raw "serial:///dev/ttyUSB0?baud=9600&parity=even" --unit 3 --input 0x34 --count 2`).in(l),
		flags: func(set *flag.FlagSet) action {
			path, asJSON := configFlag(set, l), jsonFlag(set, l)
			langFlag(set, l)
			var q rawQuestion
			q.flags(set, l)
			return func(ctx context.Context, c console, operands []string) error {
				ctx, stop := stoppable(ctx)
				defer stop()
				if err := q.check(operands); err != nil {
					return err
				}
				desk, err := newClient(ctx, c, *path, q.url == "")
				if err != nil {
					return err
				}
				if q.url != "" {
					return readRaw(ctx, c, desk, q, *asJSON, l)
				}
				return read(ctx, c, desk, operands[0], l, *asJSON)
			}
		},
	}
}

func read(ctx context.Context, c console, d *client, device string, lang *langValue, asJSON bool) error {
	r, err := d.read(ctx, device)
	if err != nil {
		return err
	}
	if asJSON {
		err = writeJSON(c, r)
	} else {
		err = writeReading(c, r, d.cfg.Timezone, lang)
	}
	if err == nil && r.Error != "" {
		return readingFault(r)
	}
	return err
}

// read polls a device through the agent, or by itself when none runs.
func (d *client) read(ctx context.Context, id string) (api.Reading, error) {
	l, dev, err := d.device(id)
	if err != nil {
		return api.Reading{}, err
	}
	if d.running == nil {
		rep, err := d.pollOnce(ctx, l, dev)
		return api.NewReading(l, dev, rep), err
	}
	return d.agent.Read(ctx, id)
}

// pollOnce opens a device's port, polls the device once and closes the port.
func (d *client) pollOnce(ctx context.Context, l config.Line, dev config.Device) (rep drivers.Report, err error) {
	link, err := l.Driver.Link(l.Endpoint.Line(l.ID), []drivers.Device{dev.Device})
	if err != nil {
		return rep, err
	}
	for range 2 { // a port that went before the device could answer says nothing about the device
		var port drivers.Port
		if port, err = d.open(ctx, l.Endpoint); err != nil {
			return rep, unopened(l.Endpoint, err)
		}
		polling, enough := context.WithCancel(ctx)
		polled := false
		err = link.Run(polling, port, nil, func(r drivers.Report) {
			if !polled {
				rep, polled = r, true
			}
			enough()
		})
		enough()
		port.Close() //nolint:errcheck // nothing was written
		if polled {
			return rep, nil
		}
		if ctx.Err() != nil {
			return rep, ctx.Err()
		}
	}
	return rep, err
}

// unopened adds advice to the error of a port that cannot be opened.
func unopened(e line.Endpoint, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return permitted(err, portOwner())
	}
	return advised(contract.LineDown, agent.CauseOf(contract.LineDown, err, e.Scheme), e.Scheme == line.Serial, err)
}

// advised puts the contract's sentence about a fault before an error. The centre reads the same sentence.
func advised(code, cause string, serial bool, err error) error {
	if code != contract.DeviceSilent && code != contract.LineDown {
		cause = ""
	}
	text := contract.SentenceOf(code, cause, serial)
	return phrase("%v\n%v").fault(text, err)
}

// readingFault is why a device did not give everything.
func readingFault(r api.Reading) error {
	code := contract.DeviceSilent
	switch {
	case len(r.Values) > 0:
		code = contract.DevicePartial
	case r.Later:
		code = contract.DeviceBusy
	}
	return advised(code, r.Cause, strings.HasPrefix(r.Port, string(line.Serial)+":"),
		hinted(errors.New(r.Error), r.Cause, r.Port))
}

// writeReading prints a reading for a person.
func writeReading(c console, r api.Reading, zone *time.Location, lang *langValue) error {
	head := []string{r.Device, r.Model}
	if i := r.Info; i != nil {
		if name := strings.TrimSpace(i.Maker + " " + i.Model); name != "" {
			head = append(head, name)
		}
		if i.Serial != "" {
			head = append(head, phrase("serial ").in(lang)+i.Serial)
		}
		if i.Firmware != "" {
			head = append(head, "firmware "+i.Firmware)
		}
	}
	t := newTable(c.out, lang)
	for _, line := range []string{strings.Join(head, ", "), r.Port + ", " + r.At.In(zone).Format("15:04:05")} {
		t.WriteString(terminal.Fold(line, t.width, 0) + "\n")
	}
	fmt.Fprintln(c.out, t.String())
	if len(r.Values) == 0 {
		_, err := fmt.Fprintln(c.out, phrase("no values").in(lang))
		return err
	}
	var rows [][4]string
	var wide [4]int
	for _, v := range r.Values {
		p, _ := catalogue.PointOf(v.Point)
		row := [4]string{v.Point, valueText(v, lang), p.Unit, p.En}
		if *lang == "it" {
			row[3] = p.It
		}
		if p.Unit == "1" {
			row[2] = ""
		}
		row[3] += doubt(v, lang)
		rows = append(rows, row)
		for i, cell := range row {
			wide[i] = max(wide[i], utf8.RuneCountInString(cell))
		}
	}
	width, _, seen := terminal.Size(c.out)
	_, err := io.WriteString(c.out, valueRows(rows, wide, width, seen)+phaseRows(r.Values, t.width, lang))
	return err
}

// phaseRows returns what deserves a look at the three phases, for a person in front of the device.
func phaseRows(values []agent.PointStatus, width int, lang *langValue) string {
	var readings []drivers.Reading
	for _, v := range values {
		if x, ok := v.Value.(float64); ok && v.Quality == contract.QualityGood {
			readings = append(readings, drivers.Reading{Point: v.Point, Value: catalogue.Number(x)})
		}
	}
	missing, reversed := phases.Look(readings)
	var b strings.Builder
	row := func(code string, f *phases.Finding, unless phrase) {
		if f != nil {
			kind, _ := contract.ConditionOf(code) // the code is one of contract's
			text := phrase("warning: %v").in(lang, kind.Text) + unless.in(lang) + " (" + f.Detail + ")"
			b.WriteString("\n" + terminal.Fold(text, cmp.Or(width, 80), 0) + "\n")
		}
	}
	row(contract.PhaseMissing, missing, phrase(""))
	row(contract.PhaseReversed, reversed, phrase("; right if a single-phase generator is on that phase"))
	return b.String()
}

// valueRows sets values below each other. Where there is no room for all, the name in words stays and the key goes.
func valueRows(rows [][4]string, wide [4]int, width int, seen bool) string {
	var b strings.Builder
	narrow := seen && wide[0]+wide[1]+wide[3]+10 > width
	name := min(wide[3], max(0, width-wide[1]-2-wide[2]-1))
	for _, row := range rows {
		line := fmt.Sprintf("%-*s  %*s %-6s %s", wide[0], row[0], wide[1], row[1], row[2], row[3])
		if narrow {
			line = fmt.Sprintf("%-*s  %*s %s", name, terminal.Cut(row[3], name), wide[1], row[1], row[2])
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func valueText(v agent.PointStatus, lang *langValue) string {
	switch x := v.Value.(type) {
	case nil:
		return "-"
	case string:
		if x == "" {
			return phrase("none").in(lang) // an alarm that is not there
		}
		return x
	case bool:
		if x {
			return phrase("yes").in(lang)
		}
		return phrase("no").in(lang)
	}
	text := pointText(agent.PointStatus{Point: "x", Value: v.Value, Quality: contract.QualityGood}, lang)
	return strings.TrimPrefix(text, "x ")
}

// doubt returns why a value is not reliable.
func doubt(v agent.PointStatus, lang *langValue) string {
	switch {
	case v.Quality == contract.QualityGood:
		return ""
	case v.Value == nil:
		return phrase(" (the device gives none)").in(lang)
	}
	return phrase(" (doubtful)").in(lang)
}
