//go:build e2e

package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bordo/contract"
	"bordo/contract/foreign"
	"bordo/contract/schema"
)

// bin is the directory with the programs under test, built once.
var bin string

// Programs that run beside others on a busy machine need their time.
const (
	patience = foreign.Patience // for anything that is to come
	promptly = 30 * time.Second // for what takes no time on a machine that has nothing else to do
)

// waiting is how many tests run at once that mostly wait, unless -parallel says otherwise: more than there are processors.
const waiting = "12"

func TestMain(m *testing.M) {
	os.Exit(func() int {
		flag.Parse()
		chosen := false
		flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
		if !chosen {
			if err := flag.Set("test.parallel", waiting); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		if err := os.Setenv("LC_ALL", "C"); err != nil { // English, unless a test asks for another language
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		dir, err := os.MkdirTemp("", "bordo-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
		build := exec.Command("go", "build", "-o", dir, "bordo/cmd/bordo", "bordo/cmd/bordoctl", "bordo/cmd/bordo-sim")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		bin = dir
		return m.Run()
	}())
}

// start runs a program until the test ends.
func start(t *testing.T, name string, args ...string) *foreign.Process {
	t.Helper()
	return foreign.Start(t, exec.Command(name, args...))
}

// newMosquitto is a broker with a store of its own, so that subscribers with a session miss nothing while it is down. It does not
// run yet.
func newMosquitto(t *testing.T) *foreign.Mosquitto {
	t.Helper()
	m := foreign.NewMosquitto(t)
	m.Configure(t, m.Plain()+fmt.Sprintf("persistence true\npersistence_location %s/\nmax_queued_messages 0\n"+
		"log_type error\nlog_type warning\nlog_type notice\nlog_type information\nlog_type subscribe\n", m.Dir))
	return m
}

// arrival is a sample or event as the subscriber got it.
type arrival struct {
	topic string
	ts    int64
	raw   string // of the identity: must always be the same
	v     map[string]any
}

// subscriber is a plain program that has subscribed to everything. It keeps what arrived by identity.
type subscriber struct {
	*foreign.Process
	args    []string
	schemas schema.Set

	read     int
	arrived  map[string]arrival // {ep}-{seq}
	doubled  []string
	conflict []string
	invalid  []string
	last     map[string][]byte // topic to payload
	events   []contract.Event
	first    time.Time // arrival of the first sample
}

func loadSchemas(t *testing.T) schema.Set {
	t.Helper()
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// subscribe starts mosquitto_sub with a session that lasts, connected as given or else plainly, and waits for the broker's consent.
func subscribe(t *testing.T, m *foreign.Mosquitto, how ...string) *subscriber {
	t.Helper()
	if len(how) == 0 {
		how = []string{"-h", "127.0.0.1", "-p", fmt.Sprint(m.Port)}
	}
	args := append([]string{"-oL", "mosquitto_sub", "-i", "centre", "-c", "-q", "1", "-d", "-F", "message %t %p", "-t",
		"bordo/#"}, how...)
	s := &subscriber{
		Process: start(t, "stdbuf", args...),
		args:    args,
		schemas: loadSchemas(t),
		arrived: make(map[string]arrival), last: make(map[string][]byte),
	}
	s.Line(t, "Subscribed")
	return s
}

// pump takes in what has arrived since the last time.
func (s *subscriber) pump() {
	lines := s.Stdout()[s.read:]
	s.read += len(lines)
	for _, l := range lines {
		if rest, ok := strings.CutPrefix(l, "message "); ok {
			topic, payload, _ := strings.Cut(rest, " ")
			s.take(topic, []byte(payload))
		}
	}
}

func (s *subscriber) take(topic string, payload []byte) {
	a, err := contract.ParseTopic("bordo", topic)
	if err != nil {
		s.invalid = append(s.invalid, err.Error())
		return
	}
	s.last[topic] = payload
	if v := s.schemas.Violation(a.Kind, payload); v != "" {
		s.invalid = append(s.invalid, fmt.Sprintf("%s: %s: %s", topic, v, payload))
	}
	switch a.Kind {
	case contract.KindTele, contract.KindHist:
		b, err := contract.DecodeBatch(payload)
		if err != nil {
			s.invalid = append(s.invalid, err.Error())
			return
		}
		if s.first.IsZero() {
			s.first = time.Now()
		}
		for _, x := range b.Samples {
			s.identity(fmt.Sprintf("%s-%d", b.Ep, x.Seq), arrival{topic, x.TS, string(x.Raw), x.V})
		}
	case contract.KindEvent:
		e, err := contract.DecodeEvent(payload)
		if err != nil {
			s.invalid = append(s.invalid, err.Error())
			return
		}
		s.events = append(s.events, e)
		s.identity(e.ID, arrival{topic: topic, ts: e.Time.UnixMilli(), raw: string(payload)})
	}
}

func (s *subscriber) identity(id string, a arrival) {
	old, ok := s.arrived[id]
	if !ok {
		s.arrived[id] = a
		return
	}
	s.doubled = append(s.doubled, id)
	if old.raw != a.raw {
		s.conflict = append(s.conflict, fmt.Sprintf("%s:\n%s\n%s", id, old.raw, a.raw))
	}
}

// until pumps until ok says so.
func (s *subscriber) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	over := time.Now().Add(patience)
	for {
		more := s.More()
		s.pump()
		if ok() {
			return
		}
		if time.Now().After(over) {
			t.Fatalf("not within %v: %s (%d identities arrived)", patience, what, len(s.arrived))
		}
		select {
		case <-more:
		case <-time.After(200 * time.Millisecond):
			s.again(t)
		}
	}
}

// again starts mosquitto_sub once more if it has ended: instead of connecting again, 2.0.11 sometimes ends with "Protocol error"
// when the broker goes. Its session lasts, so nothing is missed.
func (s *subscriber) again(t *testing.T) {
	t.Helper()
	if !s.Ended() {
		return
	}
	s.pump()
	s.Process, s.read = start(t, "stdbuf", s.args...), 0
}

// sane fails the test when a message was not as the contract says.
func (s *subscriber) sane(t *testing.T) {
	t.Helper()
	for _, e := range s.invalid {
		t.Errorf("against the contract: %s", e)
	}
	for _, e := range s.conflict {
		t.Errorf("one identity, two payloads: %s", e)
	}
}

// samples returns what has arrived of a device.
func (s *subscriber) samples(dev string) []arrival {
	var out []arrival
	for _, a := range s.arrived {
		if strings.HasSuffix(a.topic, "/"+dev) && a.v != nil {
			out = append(out, a)
		}
	}
	return out
}

// status returns the retained status as it came last.
func (s *subscriber) status(t *testing.T, node string) contract.Status {
	t.Helper()
	st, err := contract.DecodeStatus(s.last["bordo/v1/cremasco/"+node+"/status"])
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// bordo runs a command of the agent to its end.
func bordo(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return call(t, patience, "bordo", args...)
}

// call runs one of the programs under test to its end and returns what it printed and its exit code.
func call(t *testing.T, atMost time.Duration, program string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), atMost)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, program), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func unmarshal(b []byte, v any) error { return json.Unmarshal(b, v) }
