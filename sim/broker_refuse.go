package sim

import (
	"slices"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// quota counts publications by the minute.
type quota struct {
	mu     sync.Mutex
	minute time.Time
	n      int
}

// spent counts one publication and returns the count of this minute.
func (q *quota) spent(now time.Time) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m := now.Truncate(time.Minute); m != q.minute {
		q.minute, q.n = m, 0
	}
	q.n++
	return q.n
}

// subscribesTo reports whether a SUBSCRIBE asks for a topic of a kind; the kind "" matches every one.
func subscribesTo(pk packets.Packet, kind string) bool {
	return kind == "" || slices.ContainsFunc(pk.Filters, func(s packets.Subscription) bool {
		return strings.Contains(s.Filter+"/", "/"+kind+"/")
	})
}

// refuses reports whether a publication is refused by ending the connection, and ends it.
func (b *Broker) refuses(cl *mqtt.Client, pk *packets.Packet, now time.Time) bool {
	if f, _, on := b.faults.on(OversizeAcked, "", now); on && pk.FixedHeader.Remaining > f.Code<<10 {
		cl.Net.Conn.Write([]byte{packets.Puback << 4, 2, byte(pk.PacketID >> 8),
			byte(pk.PacketID)}) //nolint:errcheck // it is about to end
		cl.Net.Conn.Close() //nolint:errcheck // nothing to save
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
	if f, _, on := b.faults.on(Quota, "", now); on && b.quota.spent(now) > f.Code {
		refused = true
	}
	if refused {
		cl.Net.Conn.Close() //nolint:errcheck // nothing to save
	}
	return refused
}
