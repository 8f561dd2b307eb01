package agent

import (
	"time"

	"bordo/agent/config"
	"bordo/agent/uplink"
	"bordo/contract"
	"bordo/drivers/catalogue"
)

// What a message costs on the link besides its own bytes.
const (
	mqttBytes = 2 + 2 + 4     // fixed header, topic length, message id and PUBACK's share of the same
	ackBytes  = 4             // PUBACK
	ipBytes   = 2 * (20 + 32) // IPv4 and TCP with time stamps, there and back
	tlsBytes  = 2 * 29        // a TLS 1.2 or 1.3 record, there and back
	pingEvery = 30 * time.Second
)

// month is what an estimate is for.
const month = 30 * 24 * time.Hour

// Budget estimates what a node sends and receives in a month of 30 days on a healthy link.
type Budget struct {
	Devices []DeviceBudget
	Rest    int64 // keep-alive, status, quarter hours
}

// DeviceBudget is one device's part. Least and Most differ for a device that reports on change: nothing changes, or
// everything does in each poll.
type DeviceBudget struct {
	ID          string
	Points      int
	Least, Most int64 // bytes a month
}

// Total adds up.
func (b Budget) Total() (least, most int64) {
	least, most = b.Rest, b.Rest
	for _, d := range b.Devices {
		least, most = least+d.Least, most+d.Most
	}
	return least, most
}

// unknownPoints is the assumed number of points of a device that only the device itself can list.
const unknownPoints = 25

// What a device that speaks unasked is taken to send: so many events a day, of so many bytes.
const (
	typicalEventsADay = 200
	typicalEvent      = 400
)

// Estimate makes the budget of a configuration. Numbers are taken to be of the usual length.
func Estimate(c *config.Config) (Budget, error) {
	topics, err := contract.NewTopics(c.MQTT.Root, c.Tenant, c.Node)
	if err != nil {
		return Budget{}, err
	}
	secured := len(c.MQTT.URLs) > 0 && c.MQTT.URLs[0].Scheme == "mqtts"
	var b Budget
	counters := 0
	for _, l := range c.Lines {
		for _, d := range l.Devices {
			if d.Spec.Unsolicited {
				event := onTheWire(len(topics.Event(d.ID)), typicalEvent, secured) * typicalEventsADay * 30
				b.Devices = append(b.Devices, DeviceBudget{ID: d.ID, Least: event, Most: event})
				continue
			}
			fields := typical(d)
			for _, f := range fields {
				if p, ok := catalogue.PointOf(f.Key); ok && p.Kind == catalogue.Counter && p.Unit == "kW.h" {
					counters++
				}
			}
			w := contract.NewBatch(nil, contract.Envelope{Node: c.Node, Dev: d.ID, Ep: "k3f9x2q7",
				Clk: contract.ClockSync, Sent: 1760000005123})
			if _, err := w.Add(1234567, 1760000000000, fields); err != nil {
				return Budget{}, err
			}
			one := onTheWire(len(topics.Tele(d.ID)), w.Size(), secured)
			db := DeviceBudget{ID: d.ID, Points: len(fields), Most: one * int64(month/d.Every)}
			db.Least = db.Most
			if d.Report.OnChange {
				db.Least = one * int64(month/d.Report.AtLeast)
			}
			b.Devices = append(b.Devices, db)
		}
	}
	ping := int64(2 + 2 + ipBytes)
	status := onTheWire(len(topics.Status()), 600, secured)
	interval := onTheWire(len(topics.Event("meter-1")), 520, secured)
	b.Rest = ping*int64(month/pingEvery) + status*int64(month/uplink.StatusEvery) + interval*int64(month/(15*time.Minute))*int64(counters)
	return b, nil
}

// typical makes a sample as a device might give it.
func typical(d config.Device) []contract.Field {
	keys := d.Spec.Points
	for _, t := range d.ChannelMaps {
		keys = append(keys, t.Point)
	}
	if len(keys) == 0 {
		for _, p := range catalogue.Points()[:unknownPoints] {
			keys = append(keys, p.Key)
		}
	}
	var out []contract.Field
	for _, k := range keys {
		p, _ := catalogue.PointOf(k)
		f := contract.Field{Key: k, Quality: contract.QualityGood}
		switch p.Type {
		case catalogue.Text:
			f.Kind, f.Text = contract.KindText, "producing"
		case catalogue.Bool:
			f.Kind, f.Num = contract.KindBool, 1
		default:
			f.Kind, f.Num = contract.KindNumber, 1234.5
			if p.Kind == catalogue.Counter {
				f.Num = 123456.78
			}
		}
		out = append(out, f)
	}
	return out
}

func onTheWire(topic, payload int, secured bool) int64 {
	n := topic + payload + mqttBytes + ackBytes + ipBytes
	if secured {
		n += tlsBytes
	}
	return int64(n)
}
