package agent_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/contract"
	"bordo/drivers"
)

// talker is a driver of a reader that speaks unasked.
type talker struct {
	says chan drivers.Event
	lost chan error // ends the port
}

func (talker) Name() string { return "talker" }

func (talker) Models() []drivers.Model {
	return []drivers.Model{{Name: "test-talker", Title: "Speaks unasked", Streams: true, Unsolicited: true,
		ReopenMax: 3 * time.Second}}
}

func (t talker) Link(_ drivers.Line, devices []drivers.Device) (drivers.Link, error) {
	return talking{t, devices[0].ID}, nil
}

type talking struct {
	talker
	id string
}

func (t talking) Run(ctx context.Context, _ drivers.Port, _ <-chan drivers.Request, out func(drivers.Report)) error {
	for {
		select {
		case e := <-t.says:
			out(drivers.Report{Device: t.id, At: time.Now(), Events: []drivers.Event{e}})
		case err := <-t.lost:
			return &drivers.Error{Op: "listen", Kind: drivers.Closed, Lost: true, Err: err}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A device that speaks unasked is alive although nobody polls it: an hour of silence is no fault, its events arrive, and a
// port that was lost is opened again within seconds of its return.
func TestUnsolicitedDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.wall = noon
		d := talker{make(chan drivers.Event), make(chan error)}
		text := n.text[:strings.Index(n.text,
			"lines:")] + "lines:\n  - {id: one, port: \"tcp://127.0.0.1:4001\", devices: [{id: reader-1, model: test-talker}]}\n"
		cfg, err := config.Parse("test.yaml", []byte(text), []drivers.Driver{d})
		if err != nil {
			t.Fatal(err)
		}
		n.cfg = cfg
		a := n.start()
		time.Sleep(time.Hour)
		if h := a.Status().Health; len(h) != 0 {
			t.Errorf("after an hour of silence: %+v", h)
		}
		d.says <- drivers.Event{Type: "bordo.card.presented.v1", Data: map[string]any{"reader": "reader-1"}}
		time.Sleep(time.Second)
		dev := a.Status().Lines[0].Devices[0]
		if dev.Polls != 0 || dev.Every != "" || time.Since(dev.Last) > 2*time.Second {
			t.Errorf("status %+v", dev)
		}

		n.mu.Lock()
		n.noPort = errors.New("unplugged")
		n.mu.Unlock()
		d.lost <- errors.New("unplugged")
		time.Sleep(10 * time.Minute)
		if h := a.Status().Health; len(h) != 1 || h[0].Code != contract.LineDown {
			t.Errorf("without a port: %+v", h)
		}
		n.mu.Lock()
		n.noPort = nil
		n.mu.Unlock()
		time.Sleep(3 * time.Second)
		d.says <- drivers.Event{Type: "bordo.card.presented.v1", Data: map[string]any{"reader": "reader-1"}}
		time.Sleep(time.Second)
		n.stop()
		cards := 0
		for _, e := range n.events {
			if e.Type == "bordo.card.presented.v1" {
				cards++
			}
		}
		if cards != 2 {
			t.Errorf("%d of 2 cards arrived", cards)
		}
		b, err := agent.Estimate(cfg)
		if err != nil || len(b.Devices) != 1 || b.Devices[0].Points != 0 || b.Devices[0].Most < 1<<20 {
			t.Errorf("budget %+v, %v", b, err)
		}
	})
}
