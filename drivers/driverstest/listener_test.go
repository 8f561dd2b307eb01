package driverstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
)

// sample is a reader of lines: STX, an identifier, two hex digits of a sum, CR. Its faults are what the suite has to find.
type sample struct{ fault string }

func (sample) Name() string { return "sample" }

func (sample) Models() []drivers.Model {
	return []drivers.Model{{Name: "sample-reader", Title: "Reads lines", Serial: true, Unsolicited: true}}
}

func (s sample) Link(_ drivers.Line, devices []drivers.Device) (drivers.Link, error) {
	return &sampleLink{sample: s, id: devices[0].ID}, nil
}

type sampleLink struct {
	sample
	id   string
	rest []byte
}

func sampleSum(id string) string { return hex.EncodeToString([]byte{sha256.Sum256([]byte(id))[0]}) }

// Run implements drivers.Link.
func (l *sampleLink) Run(ctx context.Context, port drivers.Port, _ <-chan drivers.Request,
	out func(drivers.Report)) error {
	if l.fault != "deaf to its context" {
		defer context.AfterFunc(ctx, func() {
			port.SetDeadline(time.Unix(1,
				0))
		})() //nolint:errcheck // a port that refuses is gone
	}
	if l.fault != "keeps a half frame" {
		l.rest = nil
	}
	if l.fault == "writes" {
		port.Write([]byte{6}) //nolint:errcheck // a fault
	}
	if l.fault == "tired" {
		port.SetDeadline(time.Now().Add(time.Hour)) //nolint:errcheck // a fault
	}
	buf := make([]byte, 256)
	for {
		n, err := port.Read(buf)
		switch {
		case l.fault == "one frame a read" && bytes.Count(buf[:n], []byte{'\r'}) > 1:
			n = bytes.IndexByte(buf[:n], '\r') + 1
		case l.fault == "whole frames only" && n > 0 && buf[n-1] != '\r':
			n = 0
		}
		l.rest = append(l.rest, buf[:n]...)
		for {
			at := bytes.IndexByte(l.rest, '\r')
			if at < 0 {
				break
			}
			l.frame(l.rest[:at], out)
			l.rest = l.rest[at+1:]
		}
		if len(l.rest) > 64 && l.fault != "chokes on noise" {
			l.rest = l.rest[len(l.rest)-64:]
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case l.fault == "ignores a lost port" && drivers.PortLost(err):
			<-ctx.Done()
			return ctx.Err()
		default:
			return err
		}
	}
}

func (l *sampleLink) frame(line []byte, out func(drivers.Report)) {
	begin := bytes.LastIndexByte(line, 2)
	if l.fault == "chokes on noise" {
		begin = bytes.IndexByte(line, 2)
	}
	text := string(line[begin+1:])
	good := begin >= 0 && len(text) > 2 && sampleSum(text[:len(text)-2]) == text[len(text)-2:]
	r := drivers.Report{Device: l.id, At: time.Now()}
	switch {
	case good:
		sum := sha256.Sum256([]byte(text))
		id := hex.EncodeToString(sum[:8])
		if l.fault == "tells the identifier" {
			id = text
		}
		r.Events = []drivers.Event{{Type: "bordo.card.presented.v1", Data: map[string]any{"id": id}}}
	case l.fault == "complains":
		r.Err = &drivers.Error{Op: "read a line", Kind: drivers.Checksum, Err: fmt.Errorf("%q", text)}
	case l.fault == "believes anything":
		r.Events = []drivers.Event{{Type: "bordo.card.presented.v1", Data: map[string]any{"id": "?"}}}
	default:
		return
	}
	if l.fault == "nameless" {
		r.Device = ""
	}
	out(r)
}

func suiteOf(fault string) ListenerSuite {
	return ListenerSuite{
		Driver: sample{fault}, Char: time.Millisecond, Device: drivers.Device{ID: "reader-1", Model: "sample-reader"},
		IDs:   [2]string{"0004711", "0815000"},
		Frame: func(id string) []byte { return []byte("\x02" + id + sampleSum(id) + "\r") },
		Event: "bordo.card.presented.v1", Secret: true,
	}
}

func TestSampleListener(t *testing.T) { Listener(t, suiteOf("")) }

// Each check finds the driver that breaks it.
func TestListenerSuiteFails(t *testing.T) {
	found := map[string]bool{}
	for fault, check := range map[string]string{
		"nameless": "frame", "tells the identifier": "frame", "writes": "frame", "whole frames only": "split",
		"one frame a read": "merged",
		"complains":        "noise", "believes anything": "noise", "tired": "silence", "ignores a lost port": "port",
		"deaf to its context": "context",
	} {
		t.Run(fault, func(t *testing.T) {
			for _, c := range listenerChecks {
				if c.name != check {
					continue
				}
				found[check] = true
				synctest.Test(t, func(t *testing.T) {
					s := suiteOf(fault)
					if err := c.check(t.Context(), &s); err == nil {
						t.Errorf("the check %q finds nothing", check)
					} else if errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
				})
			}
		})
	}
	for _, c := range listenerChecks {
		if !found[c.name] {
			t.Errorf("no driver fails the check %q", c.name)
		}
	}
}
