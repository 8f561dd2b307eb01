package mqtt

import (
	"encoding/binary"
	"fmt"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// maxInbound is the maximum remaining length of an accepted packet. Nothing that a node subscribes to is larger, and
// paho allocates what the header announces before any of it has arrived.
const maxInbound = 256 << 10

// PacketError ends a connection whose broker sent what a client must not or will not receive.
type PacketError struct {
	Text     string
	TooLarge bool   // a message larger than maxInbound
	Topic    string // of that message, where it could be seen
}

// Error says what came.
func (e *PacketError) Error() string {
	if e.Topic != "" {
		return fmt.Sprintf("%s (topic %q)", e.Text, e.Topic)
	}
	return e.Text
}

// inbound follows the packets of a connection and judges each by its fixed header (MQTT 3.1.1, 2.2).
type inbound struct {
	state   int // what the next byte belongs to
	header  byte
	length  int
	shift   uint
	left    int    // bytes of the packet that have not come
	greeted bool   // the CONNACK has come
	pong    func() // called for each PINGRESP; may be nil
}

const (
	inHeader = iota
	inLength
	inBody
)

// check validates the next bytes. With an error, the first n bytes are valid.
func (f *inbound) check(p []byte) (n int, err *PacketError) {
	for n < len(p) {
		switch f.state {
		case inBody:
			took := min(f.left, len(p)-n)
			n += took
			if f.left -= took; f.left == 0 {
				f.state = inHeader
			}
			continue
		case inHeader:
			if err := f.begin(p[n]); err != nil {
				return n, err
			}
		case inLength:
			f.length |= int(p[n]&0x7f) << f.shift
			f.shift += 7
			switch {
			case p[n]&0x80 == 0:
				if err := f.judge(); err != nil {
					return n, err
				}
			case f.shift > 21:
				return n, &PacketError{Text: "the broker sent a packet whose length has more than 4 bytes"}
			}
		}
		n++
	}
	return n, nil
}

// begin takes the first byte of a packet.
func (f *inbound) begin(header byte) *PacketError {
	f.header, f.length, f.shift, f.state = header, 0, 0, inLength
	kind, flags := header>>4, header&0x0f
	name, known := packets.PacketNames[kind]
	switch kind {
	case packets.Publish:
		if flags>>1&3 == 3 {
			return &PacketError{Text: "the broker sent a PUBLISH with QoS 3"}
		}
		return nil
	case packets.Pubrel:
		flags ^= 2
	case packets.Connack, packets.Puback, packets.Pubrec, packets.Pubcomp, packets.Suback, packets.Unsuback,
		packets.Pingresp:
	default:
		if !known {
			name = "reserved"
		}
		return &PacketError{Text: fmt.Sprintf("the broker sent a packet of type %d (%s), which no client may receive",
			kind, name)}
	}
	switch {
	case flags != 0:
		return &PacketError{Text: fmt.Sprintf("the broker sent a %s with wrong flags (0x%02x)", name, header)}
	case kind == packets.Connack && f.greeted:
		return &PacketError{Text: "the broker sent a second CONNACK"}
	case kind == packets.Connack:
		f.greeted = true
	}
	return nil
}

// judge takes the length of a packet.
func (f *inbound) judge() *PacketError {
	f.left, f.state = f.length, inBody
	if f.length == 0 {
		f.state = inHeader
	}
	kind := f.header >> 4
	least, most := 2, 2
	switch kind {
	case packets.Publish:
		if f.length > maxInbound {
			return &PacketError{TooLarge: true,
				Text: fmt.Sprintf("the broker sends a message of %d bytes, at most %d are accepted", f.length,
					maxInbound)}
		}
		least, most = 2, maxInbound
	case packets.Suback:
		least, most = 3, 2+maxFilters
	case packets.Pingresp:
		least, most = 0, 0
	}
	if f.length < least || f.length > most {
		return &PacketError{Text: fmt.Sprintf("the broker sent a %s of %d bytes", packets.PacketNames[kind], f.length)}
	}
	if kind == packets.Pingresp && f.pong != nil {
		f.pong()
	}
	return nil
}

// maxFilters is the maximum number of filters of one SUBSCRIBE.
const maxFilters = 16

// topicOf is the topic of a PUBLISH, given what has come of its body; "" when too little has.
func topicOf(body []byte) string {
	if len(body) < 2 {
		return ""
	}
	n := int(binary.BigEndian.Uint16(body))
	if n > len(body)-2 {
		return ""
	}
	return string(body[2 : 2+n])
}
