package modbus

import (
	"bordo/drivers/catalogue"
)

// piece is a part of a text that is too long for one reply.
type piece struct {
	whole *Field
	first int // offset of the piece, in registers
}

// pieces splits a text that is longer than limit registers. Other items are returned whole.
func pieces(it *item, limit int) []*item {
	if it.Type != String || limit <= 0 || it.Length <= limit || it.At.Table.Bits() {
		return []*item{it}
	}
	whole := it.Field
	var out []*item
	for first := 0; first < whole.Length; first += limit {
		f := whole
		f.At.Number += uint16(first)
		f.Length = min(limit, whole.Length-first)
		part := identityItem(it.Key, f)
		part.role, part.piece = it.role, &piece{&whole, first}
		out = append(out, part)
	}
	return out
}

// decodeIdentity decodes a part of the device's identity. A text in pieces counts only if all pieces arrived
// in this poll.
func (p *poll) decodeIdentity(it *item, a Answer) {
	if it.piece == nil {
		v, _ := it.Decode(a, catalogue.Text)
		p.noteIdentity(it.Key, v.Text())
		return
	}
	whole := it.piece.whole
	if p.texts == nil {
		p.texts = map[*Field][]byte{}
	}
	raw := p.texts[whole]
	if len(raw) != 2*it.piece.first { // an earlier piece is missing
		return
	}
	raw = append(raw, a.register(it.At.Number, it.Length)...)
	p.texts[whole] = raw
	if len(raw) == 2*whole.Length {
		v, _ := whole.Decode(Answer{Span: whole.Span(), Data: raw}, catalogue.Text)
		p.noteIdentity(it.Key, v.Text())
	}
}
