package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"bordo/cmd/terminal"
	"bordo/contract"
	"bordo/drivers/catalogue"
)

// view shows what arrives on a broker: a table that is drawn again and again on a terminal, or a line for each sample.
type view struct {
	out      io.Writer
	broker   string
	client   paho.Client
	messages chan paho.Message
	started  time.Time

	state   string // of the node
	devices map[string]*deviceView
	samples int
	late    int // of them on hist
	events  int
}

// deviceView is what is known of a device.
type deviceView struct {
	units  map[string]string
	fields map[string]field
	at     time.Time // of the latest sample
}

// field is the latest value of a point.
type field struct{ value, quality string }

// viewQueue bounds the messages that wait to be shown.
const viewQueue = 1024

// newView connects to a broker and listens to everything that the agent says there.
func newView(ctx context.Context, broker string, out io.Writer) (*view, error) {
	v := &view{out: out, broker: broker, messages: make(chan paho.Message, viewQueue), started: time.Now(),
		state: "not seen yet", devices: map[string]*deviceView{}}
	o := paho.NewClientOptions().AddBroker("tcp://" + strings.TrimPrefix(broker, "mqtt://")).
		SetClientID("bordo-sim-view").SetProtocolVersion(4).SetCleanSession(true).
		SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(5 * time.Second)
	v.client = paho.NewClient(o)
	if token := v.client.Connect(); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		return nil, fmt.Errorf("connect to the broker of the demo: %w", token.Error())
	}
	token := v.client.Subscribe(contract.DefaultRoot+"/v1/#", 1, func(_ paho.Client, m paho.Message) {
		select {
		case v.messages <- m:
		case <-ctx.Done():
		}
	})
	if !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		return nil, fmt.Errorf("subscribe at the broker of the demo: %w", token.Error())
	}
	return v, nil
}

func (v *view) close() error {
	v.client.Disconnect(50)
	return nil
}

// run prints until ctx ends, or until printing fails: then it returns the error.
func (v *view) run(ctx context.Context) error {
	if _, _, yes := terminal.Size(v.out); yes {
		return v.runScreen(ctx)
	}
	return v.runLines(ctx)
}

// runLines writes a line for each sample and event, each flushed immediately.
func (v *view) runLines(ctx context.Context) error {
	w := bufio.NewWriter(v.out)
	fmt.Fprintf(w, "%s\n", v.hint()) //nolint:errcheck // told by Flush
	for {
		if err := w.Flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case m := <-v.messages:
			for _, line := range v.take(m) {
				fmt.Fprintln(w, line) //nolint:errcheck // told by Flush
			}
		}
	}
}

// runScreen draws the table four times a second, and leaves the cursor where it belongs.
func (v *view) runScreen(ctx context.Context) error {
	fmt.Fprint(v.out, terminal.Begin)     //nolint:errcheck // a terminal that is gone ends the demo by a signal
	defer fmt.Fprint(v.out, terminal.End) //nolint:errcheck // as above
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		width, height, _ := terminal.Size(v.out)
		if width < 20 || height < 5 {
			width, height = 80, 24
		}
		if _, err := io.WriteString(v.out, terminal.Frame(v.table(time.Now(), width, height-1), width)); err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case m := <-v.messages:
				v.take(m)
			case <-tick.C:
				waiting = false
			}
		}
	}
}

// hint is the line with which anybody can watch the broker.
func (v *view) hint() string {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(v.broker, "mqtt://"))
	if err != nil {
		return v.broker
	}
	return fmt.Sprintf("mosquitto_sub -h %s -p %s -t '#' -v", host, port)
}

// take processes a message and returns lines that describe it.
func (v *view) take(m paho.Message) []string {
	address, err := contract.ParseTopic("", m.Topic())
	if err != nil {
		return nil // a topic of another program
	}
	switch address.Kind {
	case contract.KindTele, contract.KindHist:
		return v.takeBatch(m.Payload())
	case contract.KindStatus:
		s, err := contract.DecodeStatus(m.Payload())
		if err != nil {
			return []string{err.Error()}
		}
		if v.state == string(s.State) {
			return nil // refreshed
		}
		v.state = string(s.State)
		return []string{fmt.Sprintf("%s node %s is %s", time.Now().Format(time.TimeOnly), s.Node, s.State)}
	case contract.KindMeta:
		meta, err := contract.DecodeMeta(m.Payload())
		if err != nil {
			return nil // an empty payload: the device has left
		}
		d := v.device(meta.Dev)
		for _, p := range meta.Points {
			d.units[p.Key] = p.Unit
		}
	case contract.KindEvent:
		e, err := contract.DecodeEvent(m.Payload())
		if err != nil {
			return []string{err.Error()}
		}
		v.events++
		return []string{fmt.Sprintf("%s %s event %s %s", e.Time.Local().Format(time.TimeOnly), e.Dev, e.Type, e.Data)}
	}
	return nil
}

func (v *view) takeBatch(payload []byte) []string {
	b, err := contract.DecodeBatch(payload)
	if err != nil {
		return []string{err.Error()}
	}
	d := v.device(b.Dev)
	var lines []string
	for _, s := range b.Samples {
		v.samples++
		if b.Hist {
			v.late++
		}
		at := time.UnixMilli(s.TS)
		fields := map[string]field{}
		for key, value := range s.V {
			fields[key] = field{text(value), quality(s.Q[key], true)}
		}
		for key, q := range s.Q {
			if _, ok := s.V[key]; !ok {
				fields[key] = field{"-", quality(q, false)}
			}
		}
		if !at.Before(d.at) { // late samples do not replace current values
			d.at = at
			for key, f := range fields {
				d.fields[key] = f
			}
		}
		lines = append(lines, d.line(b.Dev, at, b.Hist, fields))
	}
	return lines
}

func (v *view) device(id string) *deviceView {
	if v.devices[id] == nil {
		v.devices[id] = &deviceView{units: map[string]string{}, fields: map[string]field{}}
	}
	return v.devices[id]
}

// line formats a sample in one line: time, device, point=value unit.
func (d *deviceView) line(dev string, at time.Time, late bool, fields map[string]field) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", at.Local().Format("15:04:05.000"), dev)
	if late {
		b.WriteString(" (late)")
	}
	for _, key := range sortedKeys(fields) {
		f := fields[key]
		fmt.Fprintf(&b, " %s=%s", key, f.value)
		if u := d.unit(key); u != "" {
			b.WriteString(" " + u)
		}
		if f.quality != "good" {
			b.WriteString(" (" + f.quality + ")")
		}
	}
	return b.String()
}

// unit returns the unit from the device's description, or from the catalogue.
func (d *deviceView) unit(key string) string {
	u, ok := d.units[key]
	if !ok {
		p, _ := catalogue.PointOf(key)
		u = p.Unit
	}
	if u == "1" { // UCUM for a plain number
		return ""
	}
	return u
}

// sortedKeys gives keys in the catalogue's order.
func sortedKeys(fields map[string]field) []string {
	keys := make([]string, 0, len(fields))
	for k := range fields {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if d := catalogue.PointOrder(a) - catalogue.PointOrder(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return keys
}

func text(v any) string {
	switch x := v.(type) {
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(x)
	case string:
		return x
	}
	return fmt.Sprint(v)
}

func quality(q contract.Quality, present bool) string {
	switch {
	case q == contract.QualityUncertain:
		return "uncertain"
	case q == contract.QualityStale:
		return "stale"
	case present:
		return "good"
	}
	return "bad"
}
