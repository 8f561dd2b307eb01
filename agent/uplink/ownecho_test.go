package uplink

import (
	"fmt"
	"strings"
	"testing"

	"bordo/agent/mqtt"
)

// ownSession is the session of TestOwnStatusTellsCopiesFromEchoes.
const ownSession = "aa11"

// ownOnline returns the nth status of the session; with a mark it is one that somebody has changed.
func ownOnline(n int, mark string) []byte {
	return fmt.Appendf(nil, `{"sv":1,%s"node":"quintano","state":"online","sess":%q,"next":%d}`, mark, ownSession, n)
}

// Each step is "w1": status 1 is published, "1": it comes back, "r1": the same as the answer to a subscription, "m1": it
// comes with a mark, "x": somebody else's status.
func TestOwnStatusTellsCopiesFromEchoes(t *testing.T) {
	for _, c := range []struct {
		name, steps string
		foreign     int
		wrong       bool
	}{
		{"every status comes back", "w1 1 w2 w3 2 3", 0, false},
		{"copy with a mark", "w1 1 m1", 1, true},
		{"copy of the latest", "w1 1 1", 1, false},
		{"copy of an earlier one", "w1 1 w2 2 1", 1, true},
		{"the broker marks all", "w1 m1 w2 w3 m2 m3", 0, false},
		{"the broker marks all, and somebody copies", "w1 m1 m1", 1, true},
		{"the first status came before the subscription", "w1 r1", 0, false},
		{"then a copy with a mark", "w1 r1 m1", 1, true},
		{"two came before the subscription", "w1 w2 r2 m2", 1, true},
		{"subscribed twice", "w1 1 r1 m1", 1, true},
		{"the broker dropped the first", "w1 w2 2 m2", 1, true},
		{"a copy of one that the broker dropped", "w1 w2 2 1", 1, true},
		{"somebody overwrote it before the subscription", "w1 x w2 2 m2", 2, true},
		{"a mark before the echo", "w1 1 w2 m1 2", 1, true},
		{"nothing came back for long", strings.Repeat("w1 ", maxPending+10) + "w2 2 m2", 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOwnStatus(ownSession)
			for step := range strings.FieldsSeq(c.steps) {
				n := int(step[len(step)-1] - '0')
				switch step[0] {
				case 'w':
					o.wrote(ownOnline(n, ""))
				case 'r':
					o.saw(mqtt.Message{Payload: ownOnline(n, ""), Retain: true})
				case 'm':
					o.saw(mqtt.Message{Payload: ownOnline(n, `"seen":true,`)})
				case 'x':
					o.saw(mqtt.Message{Payload: []byte(`{"sv":1,"node":"quintano","state":"lost","sess":"bb22"}`)})
				default:
					o.saw(mqtt.Message{Payload: ownOnline(n, "")})
				}
			}
			if len(o.pending) > maxPending {
				t.Errorf("%d pending", len(o.pending))
			}
			if seen := o.take(); seen.foreign != c.foreign || seen.wrong != c.wrong {
				t.Errorf("foreign %d, wrong %t; want %d, %t", seen.foreign, seen.wrong, c.foreign, c.wrong)
			}
		})
	}
}
