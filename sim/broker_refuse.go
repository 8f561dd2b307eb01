package sim

import (
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// refuses tells whether a publication is refused by ending the connection, and ends it.
func (b *Broker) refuses(cl *mqtt.Client, pk *packets.Packet, now time.Time) bool {
	if f, _, on := b.faults.on(OversizeAcked, "", now); on && pk.FixedHeader.Remaining > f.Code<<10 {
		cl.Net.Conn.Write([]byte{packets.Puback << 4, 2, byte(pk.PacketID >> 8), byte(pk.PacketID)}) //nolint:errcheck // it is about to end
		cl.Net.Conn.Close()                                                                          //nolint:errcheck // nothing to save
		return true
	}
	refused := false
	if f, _, on := b.faults.on(Oversize, "", now); on && pk.FixedHeader.Remaining > f.Code<<10 {
		refused = true
	}
	if f, _, on := b.faults.on(TopicClosed, "", now); on && strings.Contains(pk.TopicName+"/", "/"+f.Point+"/") {
		refused = true
	}
	if _, _, on := b.faults.on(RetainClosed, "", now); on && pk.FixedHeader.Retain {
		refused = true
	}
	if refused {
		cl.Net.Conn.Close() //nolint:errcheck // nothing to save
	}
	return refused
}
