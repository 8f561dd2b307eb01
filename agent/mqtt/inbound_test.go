package mqtt

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// The packets are written by hand from MQTT 3.1.1: 2.2.1 (types), 2.2.2 (flags), 2.2.3 (remaining length) and the lengths that
// chapter 3 gives each packet.
var inboundCases = map[string]struct {
	bytes string
	want  string // part of the error, "" for a packet that is accepted
}{
	"CONNACK":                  {"\x20\x02\x00\x00", ""},
	"PUBLISH":                  {"\x30\x05\x00\x01axy", ""},
	"PUBLISH, retained, QoS 1": {"\x33\x07\x00\x01a\x00\x05xy", ""},
	"PUBLISH of 256 KiB":       {"\x30\x80\x80\x10\x00\x01a", ""},
	"PUBACK":                   {"\x40\x02\x00\x05", ""},
	"SUBACK":                   {"\x90\x03\x00\x01\x01", ""},
	"SUBACK that refuses":      {"\x90\x03\x00\x01\x80", ""},
	"UNSUBACK":                 {"\xb0\x02\x00\x01", ""},
	"PUBREL":                   {"\x62\x02\x00\x01", ""},
	"PINGRESP":                 {"\xd0\x00", ""},
	"several": {"\x20\x02\x00\x00\x40\x02\x00\x05\x30\x05\x00\x01axy\xd0\x00\x90\x03\x00\x01\x01",
		""},
	"a byte above 256 KiB":      {"\x30\x81\x80\x10", "a message of 262145 bytes, at most 262144"},
	"256 MiB":                   {"\x30\xff\xff\xff\x7f", "a message of 268435455 bytes"},
	"its topic":                 {"\x30\xff\xff\xff\x7f\x00\x04abcd", `topic "abcd"`},
	"a length of 5 bytes":       {"\x30\xff\xff\xff\xff\x01", "more than 4 bytes"},
	"a large PUBACK":            {"\x40\xff\xff\x03", "PUBACK of 65535 bytes"},
	"a short PUBACK":            {"\x40\x01\x00", "PUBACK of 1 bytes"},
	"a long CONNACK":            {"\x20\x03\x00\x00\x00", "CONNACK of 3 bytes"},
	"a second CONNACK":          {"\x20\x02\x00\x00\x20\x02\x00\x00", "a second CONNACK"},
	"SUBACK without a code":     {"\x90\x02\x00\x01", "SUBACK of 2 bytes"},
	"SUBACK with too many":      {"\x90\x7f", "SUBACK of 127 bytes"},
	"PINGRESP with a body":      {"\xd0\x01\x00", "PINGRESP of 1 bytes"},
	"PUBLISH without a topic":   {"\x30\x00", "PUBLISH of 0 bytes"},
	"PUBLISH with QoS 3":        {"\x36\x05", "QoS 3"},
	"PUBACK with flags":         {"\x41\x02\x00\x05", "PUBACK with wrong flags"},
	"PUBREL without its flags":  {"\x60\x02\x00\x05", "PUBREL with wrong flags"},
	"type 0":                    {"\x00\x00", "type 0 (reserved)"},
	"type 15":                   {"\xf0\x00", "type 15 (reserved)"},
	"CONNECT":                   {"\x10\x00", "type 1 (CONNECT)"},
	"SUBSCRIBE":                 {"\x82\x00", "type 8 (SUBSCRIBE)"},
	"UNSUBSCRIBE":               {"\xa2\x00", "type 10 (UNSUBSCRIBE)"},
	"PINGREQ":                   {"\xc0\x00", "type 12 (PINGREQ)"},
	"DISCONNECT":                {"\xe0\x00", "type 14 (DISCONNECT)"},
	"behind one that is right":  {"\x40\x02\x00\x05\xe0\x00", "type 14"},
	"inside of a body it is ok": {"\x30\x05\x00\x01a\xe0\xff\xd0\x00", ""},
}

// A packet is judged by its header, however it is cut into reads.
func TestInbound(t *testing.T) {
	for name, c := range inboundCases {
		for _, size := range []int{1, 2, 3, len(c.bytes)} {
			here, broker := net.Pipe()
			s := newStream(here)
			go func() {
				for part := range slices.Chunk([]byte(c.bytes), size) {
					broker.Write(part) //nolint:errcheck // it may be closed by now
				}
				broker.Close() //nolint:errcheck // nothing to save
			}()
			var got []byte
			var err error
			for p := make([]byte, size); err == nil; {
				var n int
				n, err = s.Read(p)
				got = append(got, p[:n]...)
			}
			bad, is := errors.AsType[*PacketError](err)
			switch {
			case c.want == "" && (is || string(got) != c.bytes):
				t.Errorf("%s in parts of %d: %q, %v", name, size, got, err)
			case c.want != "" && (!is || !strings.Contains(err.Error(), c.want) && name != "its topic"):
				t.Errorf("%s in parts of %d: %v, want %q", name, size, err, c.want)
			case name == "its topic" && size == len(c.bytes) && bad.Topic != "abcd":
				t.Errorf("%s: %+v", name, bad)
			}
			if is != (s.err() != nil) {
				t.Errorf("%s: the connection goes on: %v", name, s.err())
			}
		}
	}
}

// A broker that announces 256 MB is left on its header: nothing is allocated for it, and the connection says why it ended.
func TestHugePacketTakesNoMemory(t *testing.T) {
	for _, early := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			go func() {
				defer there.Close() //nolint:errcheck // a pipe
				p, err := packets.ReadPacket(there)
				if err != nil || p.(*packets.ConnectPacket).ClientIdentifier != "node" {
					t.Errorf("%v, %v", p, err)
				}
				if !early {
					there.Write([]byte("\x20\x02\x00\x00")) //nolint:errcheck // a pipe
				}
				there.Write([]byte("\x30\xff\xff\xff\x7f\x00\x01a")) //nolint:errcheck // it may be closed by now
				there.Write(bytes.Repeat([]byte{0xaa}, 1<<20))       //nolint:errcheck // likewise
			}()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c, err := Connect(t.Context(),
				Options{URL: &url.URL{Scheme: "mqtt", Host: "broker.example:1883"}, ClientID: "node",
					Dial: func(context.Context, *url.URL) (net.Conn, error) { return here, nil }})
			if err == nil {
				<-c.Lost()
				err = c.Err()
				c.Close(false)
			}
			runtime.ReadMemStats(&after)
			if bad, is := errors.AsType[*PacketError](err); !is || !bad.TooLarge {
				t.Errorf("ended with %v", err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
			time.Sleep(time.Minute) // everything of it ends
		})
	}
}
