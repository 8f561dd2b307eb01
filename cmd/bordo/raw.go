package main

import (
	"context"
	"flag"
	"strconv"

	"bordo/drivers"
	"bordo/drivers/all"
	"bordo/drivers/line"
)

// rawQuestion is a read of registers as they are.
type rawQuestion struct {
	url   string
	unit  int
	count int
	first map[string]string // by area, as it was given

	endpoint line.Endpoint
	area     drivers.RawArea
	query    drivers.RawQuery
}

// rawAreas are the areas that can be read raw.
func rawAreas() []drivers.RawArea {
	reader, _ := only[drivers.RawReader](all.List()) // there is one: Modbus
	return reader.RawAreas()
}

func (q *rawQuestion) flags(set *flag.FlagSet, l *langValue) {
	set.StringVar(&q.url, "raw", "", phrase("read registers at this port `URL` instead: tcp://, serial:// or rtu+tcp://").in(l))
	set.IntVar(&q.unit, "unit", 1, phrase("with --raw: the unit `ID`, 0 to 255").in(l))
	set.IntVar(&q.count, "count", 1, phrase("with --raw: how `MANY` registers or bits").in(l))
	q.first = map[string]string{}
	for _, a := range rawAreas() {
		set.Func(a.Name, phrase("with --raw: the first `ADDRESS`, read with function %d").in(l, a.Function),
			func(text string) error {
				q.first[a.Name] = text
				return nil
			})
	}
}

// check completes the question and reports what is wrong with it.
func (q *rawQuestion) check(operands []string) error {
	switch {
	case q.url == "" && len(q.first) > 0:
		return misused("read", phrase("read: --raw is missing: the port URL, such as --raw tcp://HOST"))
	case q.url == "" && len(operands) == 0:
		return misused("read", phrase("read: which device? Give its id, or --raw"))
	case q.url == "":
		return nil
	case len(operands) > 0:
		return misused("read", phrase("read: either a device or --raw (got %q as well)"), operands[0])
	case len(q.first) != 1:
		return misused("read", phrase("read: give one of --holding, --input, --coil and --discrete (got %d)"),
			len(q.first))
	}
	var err error
	if q.endpoint, err = line.Parse(q.url); err != nil {
		return misused("read", phrase("read: --raw: %v"), err)
	}
	for _, a := range rawAreas() {
		text, given := q.first[a.Name]
		if !given {
			continue
		}
		n, err := strconv.ParseUint(text, 0, 16)
		if err != nil {
			return misused("read", phrase("read: --%s: must be 0 to 65535, decimal or 0x hexadecimal (got %q)"), a.Name,
				text)
		}
		q.area, q.query = a, drivers.RawQuery{Unit: q.unit, Area: a.Name, First: int(n), Count: q.count}
	}
	switch {
	case q.unit < 0 || q.unit > 255:
		return misused("read", phrase("read: --unit: must be 0 to 255 (got %d)"), q.unit)
	case q.unit == 0 && q.endpoint.Scheme != line.TCP:
		return misused("read", phrase("read: --unit: 0 is everybody on a serial line, and nobody answers to that"))
	case q.count < 1 || q.count > q.area.MaxCount || q.query.First+q.count > 1<<16:
		return misused("read", phrase("read: --count: must be 1 to %d, and end with address 65535 (got %d)"),
			q.area.MaxCount, q.count)
	}
	return nil
}

func readRaw(ctx context.Context, c console, d *client, q rawQuestion, asJSON bool, l *langValue) error {
	reader, _ := only[drivers.RawReader](d.drivers) // there is one: Modbus
	if t, ok := reader.(drivers.TCPDriver); ok {
		q.endpoint = q.endpoint.WithPort(t.TCPPort())
	}
	data, err := d.registers(ctx, reader, q)
	if err != nil {
		return hinted(err, drivers.CauseOf(err).String(), q.endpoint.String())
	}
	if q.area.Bits {
		return writeBits(c, q.query, data, asJSON)
	}
	rows := decodings(q.query.First, data)
	if asJSON {
		return writeJSON(c, rows)
	}
	return writeRegisters(c, rows, data, l)
}

// registers asks through the agent where that has the line.
func (d *client) registers(ctx context.Context, reader drivers.RawReader, q rawQuestion) ([]byte, error) {
	if l := d.held(q.endpoint); l != nil {
		return d.agent.Raw(ctx, l.ID, q.query)
	}
	port, err := d.open(ctx, q.endpoint)
	if err != nil {
		return nil, unopened(q.endpoint, err)
	}
	defer port.Close() //nolint:errcheck // nothing was written
	return reader.ReadRaw(ctx, q.endpoint.Line("raw"), port, q.query)
}
