package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bordo/drivers"
	"bordo/drivers/line"
)

// Where the protocol has no port of its own, the URL names one.
func TestPortOfTheProtocol(t *testing.T) {
	const text = "version: 1\ntenant: t\nnode: n\nmqtt: {url: \"mqtt://127.0.0.1:1\"}\nlines:\n" +
		"  - {id: a, port: \"tcp://h%s\", devices: [{id: r, model: x, every: 1s}]}\n"
	models := []drivers.Model{{Name: "x", Streams: true}}
	for _, c := range []struct {
		driver      drivers.Driver
		port        string
		line, fault string
	}{
		{fakeDriver{"with", models}, "", "tcp://h:502", ""},
		{fakeDriver{"with", models}, ":1502", "tcp://h:1502", ""},
		{fixedDriver{fakeDriver{"without", models}}, ":9000", "tcp://h:9000", ""},
		{fixedDriver{fakeDriver{"without", models}}, "", "", `x.yaml:6:19: lines[0].port: tcp:// needs a port after the host: without has none of its own (got "tcp://h")`},
	} {
		cfg, err := Parse("x.yaml", fmt.Appendf(nil, text, c.port), []drivers.Driver{c.driver})
		switch {
		case c.fault != "":
			if err == nil || err.Error() != c.fault {
				t.Errorf("%s%s: %v", c.driver.Name(), c.port, err)
			}
		case err != nil:
			t.Errorf("%s%s: %v", c.driver.Name(), c.port, err)
		case cfg.Lines[0].Endpoint.String() != c.line:
			t.Errorf("%s%s: %s", c.driver.Name(), c.port, cfg.Lines[0].Endpoint)
		}
	}
}

// A model that speaks unasked has no interval.
func TestUnsolicitedHasNoInterval(t *testing.T) {
	list := []drivers.Driver{fakeDriver{"rfid", []drivers.Model{{Name: "rdm6300", Serial: true, Unsolicited: true}}}}
	const head = "version: 1\ntenant: t\nnode: n\nmqtt: {url: \"mqtt://127.0.0.1:1\"}\nlines:\n  - {id: a, port: \"serial:///dev/ttyS0\", devices: [{id: r, model: rdm6300"
	cfg, err := Parse("x.yaml", []byte(head+"}]}\n"), list)
	if err != nil {
		t.Fatal(err)
	}
	if d := cfg.Lines[0].Devices[0]; d.Every != 0 || strings.Contains(cfg.Text(), "every") {
		t.Errorf("every %v in\n%s", d.Every, cfg.Text())
	}
	if _, err := Parse("x.yaml", []byte(head+", every: 1s}]}\n"), list); err == nil || !strings.Contains(err.Error(), "must be left out: a rdm6300 speaks unasked") {
		t.Errorf("with every: %v", err)
	}
}

// A serial line behind TCP has two names, and keeps the one that was written.
func TestSerialLineBehindTCP(t *testing.T) {
	const head = "version: 1\ntenant: t\nnode: n\nmqtt: {url: \"mqtt://127.0.0.1:1\"}\nlines:\n"
	const entry = "  - {id: %s, port: \"%s://h:4001?baud=19200\", devices: [{id: %[1]s-1, model: x}]}\n"
	list := []drivers.Driver{fakeDriver{"modbus", []drivers.Model{{Name: "x", Serial: true, Every: time.Minute}}}}
	for _, scheme := range []string{"serial+tcp", "rtu+tcp"} {
		cfg, err := Parse("x.yaml", fmt.Appendf([]byte(head), entry, "a", scheme), list)
		if err != nil {
			t.Fatal(err)
		}
		if e := cfg.Lines[0].Endpoint; e.Scheme != line.SerialOverTCP || e.Baud != 19200 || !strings.Contains(cfg.Text(), scheme+"://h:4001") {
			t.Errorf("%s: %+v in\n%s", scheme, e, cfg.Text())
		}
	}
	text := fmt.Appendf([]byte(head), entry, "a", "serial+tcp")
	if _, err := Parse("x.yaml", fmt.Appendf(text, entry, "b", "rtu+tcp"), list); err == nil || !strings.Contains(err.Error(), "is the port of another line already") {
		t.Errorf("one port under both names: %v", err)
	}
}
