package main

import (
	"context"
	"encoding/json"
	"flag"
	"strconv"
	"time"

	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
)

// rawQuestion is a read of registers as they are.
type rawQuestion struct {
	url   string
	unit  int
	count int
	first map[modbus.Table]string

	endpoint line.Endpoint
	span     modbus.Span
}

// Bounds of one request (Modbus Application Protocol V1.1b3, 6.1 and 6.3).
const (
	maxRawRegisters = 125
	maxRawBits      = 2000
)

// rawWait is how long a device is given: nothing is known of it, so as long as the slowest that is known.
const rawWait = 3 * time.Second

// rawTiming are patient with a device of which nothing is known.
func rawTiming(profiles []*modbus.Profile) modbus.Timing {
	return modbus.Timing{ReplyMax: rawWait, TCPReplyMax: rawWait, Gap: modbus.LongestGap(profiles)}
}

func (q *rawQuestion) flags(set *flag.FlagSet, l *langValue) {
	set.StringVar(&q.url, "raw", "", phrase{"leggere registri a questo `URL` di porta: tcp://, serial:// o rtu+tcp://", "read registers at this port `URL` instead: tcp://, serial:// or rtu+tcp://"}.in(l))
	set.IntVar(&q.unit, "unit", 1, phrase{"con --raw: il `NUMERO` Modbus, da 0 a 255", "with --raw: the unit `ID`, 0 to 255"}.in(l))
	set.IntVar(&q.count, "count", 1, phrase{"con --raw: `QUANTI` registri o bit", "with --raw: how `MANY` registers or bits"}.in(l))
	q.first = map[modbus.Table]string{}
	for _, t := range []modbus.Table{modbus.Holding, modbus.Input, modbus.Coil, modbus.Discrete} {
		set.Func(t.String(), phrase{"con --raw: il primo `INDIRIZZO`, letto con la funzione %d", "with --raw: the first `ADDRESS`, read with function %d"}.in(l, t.Read()), func(text string) error {
			q.first[t] = text
			return nil
		})
	}
}

// check completes the question and tells what is wrong with it.
func (q *rawQuestion) check(operands []string) error {
	switch {
	case q.url == "" && len(q.first) > 0:
		return misused("read", phrase{"read: manca --raw: l'URL della porta, come --raw tcp://HOST", "read: --raw is missing: the port URL, such as --raw tcp://HOST"})
	case q.url == "" && len(operands) == 0:
		return misused("read", phrase{"read: quale dispositivo? Dare il suo nome, o --raw", "read: which device? Give its id, or --raw"})
	case q.url == "":
		return nil
	case len(operands) > 0:
		return misused("read", phrase{"read: o un dispositivo o --raw (c'è anche %q)", "read: either a device or --raw (got %q as well)"}, operands[0])
	case len(q.first) != 1:
		return misused("read", phrase{"read: dare una fra --holding, --input, --coil e --discrete (ce ne sono %d)", "read: give one of --holding, --input, --coil and --discrete (got %d)"}, len(q.first))
	}
	var err error
	if q.endpoint, err = line.Parse(q.url); err != nil {
		return misused("read", phrase{"read: --raw: %v", "read: --raw: %v"}, err)
	}
	most := maxRawRegisters
	for t, text := range q.first {
		n, err := strconv.ParseUint(text, 0, 16)
		if err != nil {
			return misused("read", phrase{"read: --%s: deve essere da 0 a 65535, decimale o 0x esadecimale (c'è %q)", "read: --%s: must be 0 to 65535, decimal or 0x hexadecimal (got %q)"}, t, text)
		}
		q.span = modbus.Span{Table: t, First: uint16(n), Count: q.count}
		if t.Bits() {
			most = maxRawBits
		}
	}
	switch {
	case q.unit < 0 || q.unit > 255:
		return misused("read", phrase{"read: --unit: deve essere da 0 a 255 (c'è %d)", "read: --unit: must be 0 to 255 (got %d)"}, q.unit)
	case q.unit == 0 && q.endpoint.Scheme != line.TCP:
		return misused("read", phrase{"read: --unit: 0 vuol dire tutti su una linea seriale, e a questo nessuno risponde", "read: --unit: 0 is everybody on a serial line, and nobody answers to that"})
	case q.count < 1 || q.count > most || q.span.End() > 1<<16:
		return misused("read", phrase{"read: --count: deve essere da 1 a %d, e finire con l'indirizzo 65535 (c'è %d)", "read: --count: must be 1 to %d, and end with address 65535 (got %d)"}, most, q.count)
	}
	return nil
}

func readRaw(ctx context.Context, c console, d *client, q rawQuestion, asJSON bool, l *langValue) error {
	a, err := d.registers(ctx, q)
	if err != nil {
		return hinted(err, drivers.CauseOf(err).String(), q.endpoint.String())
	}
	if q.span.Table.Bits() {
		return writeBits(c, a, asJSON)
	}
	rows := decodings(a)
	if asJSON {
		return writeJSON(c, rows)
	}
	return writeRegisters(c, rows, a.Data, l)
}

// registers asks through the agent where that has the line.
func (d *client) registers(ctx context.Context, q rawQuestion) (modbus.Answer, error) {
	a := modbus.Answer{Span: q.span}
	if l := d.held(q.endpoint); l != nil {
		err := d.ask(ctx, "raw", registersQuestion{l.ID, q.unit, q.span}, func(part json.RawMessage) error {
			return json.Unmarshal(part, &a.Data)
		})
		return a, err
	}
	port, err := d.open(ctx, q.endpoint)
	if err != nil {
		return a, unopened(q.endpoint, err)
	}
	defer port.Close() //nolint:errcheck // nothing was written
	s := modbus.NewSession(q.endpoint.Line("raw"), port, rawTiming(d.profiles()))
	return s.Read(ctx, q.unit, q.span)
}
