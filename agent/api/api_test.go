package api

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"bordo/agent"
	"bordo/agent/config"
	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/scan"
)

// plainDriver polls and offers no tools.
type plainDriver struct{}

func (plainDriver) Name() string { return "plain" }
func (plainDriver) Models() []drivers.Model {
	return []drivers.Model{{Name: "acme-bell", Serial: true, Every: time.Second}}
}
func (plainDriver) Link(drivers.Line, []drivers.Device) (drivers.Link, error) {
	return drivers.Polled(), nil
}

// What is asked of a line whose protocol does not offer it, or of one that is not there, is refused by name and opens no port.
func TestRefusals(t *testing.T) {
	const text = "version: 1\ntenant: t\nnode: n\nmqtt: {url: \"mqtt://127.0.0.1:1\"}\nlines:\n" +
		"  - {id: door, port: \"serial:///dev/ttyNONE\", devices: [{id: bell-1, model: acme-bell}]}\n"
	cfg, err := config.Parse("x.yaml", []byte(text), []drivers.Driver{plainDriver{}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.New(cfg, agent.System{Wall: func() (time.Time, contract.Clock) {
		return time.Now(),
			contract.ClockSync
	}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	x := New(a, cfg, "test")
	for name, ask := range map[string]func(line, device string) error{
		"raw": func(line, _ string) error { _, err := x.Raw(t.Context(), line, drivers.RawQuery{}); return err },
		"scan": func(line, _ string) error {
			return x.Scan(t.Context(), line, nil, func(scan.Event) error { return nil })
		},
		"capture": func(_, device string) error {
			l, d, err := x.device(device)
			if err != nil {
				return err
			}
			_, err = CaptureOn(t.Context(), l, d, nil, "test", time.Now())
			return err
		},
	} {
		err := ask("door", "bell-1")
		if u := new(UnsupportedError); !errors.As(err, &u) || u.Protocol != "plain" ||
			!strings.Contains(err.Error(), "it speaks plain") {
			t.Errorf("%s of a protocol without it: %v", name, err)
		}
		if err := ask("gate", "bell-2"); !errors.Is(err, agent.ErrUnknownName) {
			t.Errorf("%s of what is not configured: %v", name, err)
		}
	}
	if _, err := x.Read(t.Context(), "bell-2"); !errors.Is(err, agent.ErrUnknownName) {
		t.Errorf("read: %v", err)
	}
	if _, err := x.Read(t.Context(), "bell-1"); !errors.Is(err, agent.ErrLineDown) {
		t.Errorf("read of a line that is not open: %v", err)
	}
}
