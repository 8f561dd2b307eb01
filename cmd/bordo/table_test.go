package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"bordo/agent"
	"bordo/agent/uplink"
	"bordo/contract"
)

var update = flag.Bool("update", false, "rewrite the expected texts in testdata")

func TestStatusTable(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	good := contract.QualityGood
	point := func(key string, value any, unit string) agent.PointStatus {
		return agent.PointStatus{Point: key, Value: value, Unit: unit, Quality: good}
	}
	running := agent.Status{
		Node: "quintano", Version: "v1.0.0", Since: ago(50 * time.Hour), Clock: contract.ClockSync,
		Broker: uplink.BrokerStatus{URL: "mqtts://broker.example:8883", Connected: true,
			Since: ago(3*time.Hour + 5*time.Minute)},
		Store: agent.StoreStatus{Epoch: "k3f9x2q7", Next: 10234, Bytes: 1_300_000, Max: 512 << 20,
			WrittenDay: 42_000_000},
		Sent: agent.SentStatus{Month: "2026-11", Bytes: 123_456_789},
		Lines: []agent.LineStatus{
			{ID: "roof", Port: "tcp://192.168.1.40:502", Open: true, Devices: []agent.DeviceStatus{{
				ID: "inv-1", Model: "sunspec", Unit: 1, Last: ago(3 * time.Second),
				Values: []agent.PointStatus{
					point("state", "producing", ""), point("ac_power", 1234.56789, "W"),
					{Point: "temperature", Unit: "Cel", Quality: contract.QualityBad},
					{Point: "frequency", Value: 49.98, Unit: "Hz", Quality: contract.QualityUncertain},
					point("power_factor", 0.99, "1"), point("ac_energy", 12345.0, "kW.h"),
				}}}},
			{ID: "rs485-a", Port: "serial:///dev/bordo/usb-1-2?baud=9600&parity=none&bits=8&stop=1", Open: true,
				Devices: []agent.DeviceStatus{
					{ID: "meter-1", Model: "eastron-sdm630", Unit: 3, Last: ago(90 * time.Second), Failures: 9,
						Error:  "read input 0x0000+32: timeout\nread input 0x0048+4: timeout",
						Values: []agent.PointStatus{point("ac_power", -0.0004, "W")}},
					{ID: "barrier-1", Model: "came-gard-ptx", Unit: 1, Last: ago(0),
						Values: []agent.PointStatus{point("state", "closed", ""), point("photocell_clear", true, "")}},
				}},
		},
	}
	stranded := agent.Status{
		Node: "quintano", Version: "v1.0.0", Since: ago(70 * time.Second), Clock: contract.ClockFree, Simulation: true,
		Broker: uplink.BrokerStatus{URL: "mqtt://10.0.0.1:1883", Since: ago(59 * time.Minute), Attempts: 1,
			Error: "connect to 10.0.0.1:1883: connection refused"},
		Store: agent.StoreStatus{Epoch: "aaaabbbb", Bytes: 999, Max: 16 << 20, Fault: "no space left on device",
			Backlog: []contract.Backlog{
				{Ep: "aaaaaaaa", First: 5, Last: 9, N: 4}, {Ep: "aaaabbbb", First: 1, Last: 1200, N: 1200}}},
		Lost: 77, Sent: agent.SentStatus{Month: "2026-10", Bytes: 999},
		Health: []contract.Health{
			{Code: "store_full", Severity: contract.Warning, Since: ago(time.Hour).UnixMilli(),
				Text: contract.Label{It: "l'archivio è pieno", En: "the store is full"}, Detail: "512 MiB"},
			{Code: "line_down", Dev: "inv-1", Severity: contract.Fault, Since: ago(time.Minute).UnixMilli(),
				Detail:  "no such device",
				OKSince: ago(20 * time.Second).UnixMilli(), Flaps: 12},
		},
		Lines: []agent.LineStatus{{ID: "roof", Port: "tcp://192.168.1.40:502", Error: "no such device",
			Devices: []agent.DeviceStatus{{ID: "inv-1", Model: "sunspec"}}}},
	}
	starting := agent.Status{Node: "quintano", Version: "v1.0.0", Since: now.Add(time.Second),
		Clock: contract.ClockFree,
		Store: agent.StoreStatus{Error: agent.StoreNotOpen}}
	for name, s := range map[string]agent.Status{"running": running, "stranded": stranded, "starting": starting} {
		t.Run(name, func(t *testing.T) {
			for _, l := range []*langValue{english(), italian()} {
				var b strings.Builder
				if err := writeStatus(&b, s, now, l, ""); err != nil {
					t.Fatal(err)
				}
				asExpected(t, "status-"+name+"-"+l.String()+".txt", b.String())
			}
			phone := &table{lang: italian(), width: 40}
			phone.status(s, now, "")
			asExpected(t, "status-"+name+"-phone.txt", phone.String())
		})
	}
}

// asExpected holds a text against the file in testdata, in which no line of a phone is wider than its screen.
func asExpected(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s: %v, got\n%swant\n%s", name, err, got, want)
	}
	for l := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); strings.HasSuffix(name, "-phone.txt") && n > 40 {
			t.Errorf("%s: %d characters in %q", name, n, l)
		}
	}
}

// That a fault of one device was told is no reason to leave out the same one of another.
func TestStatusTableTellsOfEachDevice(t *testing.T) {
	const silent = "read input 0x0000+2: timeout"
	s := agent.Status{
		Health: []contract.Health{{Code: contract.DeviceSilent, Dev: "meter-1", Severity: contract.Fault,
			Detail: silent}},
		Lines: []agent.LineStatus{
			{ID: "a", Open: true, Devices: []agent.DeviceStatus{{ID: "meter-1", Error: silent},
				{ID: "meter-2", Error: silent}}},
			{ID: "b", Error: silent, Devices: []agent.DeviceStatus{{ID: "meter-3"}}},
		},
	}
	var b strings.Builder
	if err := writeStatus(&b, s, time.Now(), english(), ""); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), silent); n != 3 {
		t.Errorf("told %d times, want once as a condition, once of meter-2 and once of line b:\n%s", n, b.String())
	}
}

func TestStatusTableTellsThatNobodyReads(t *testing.T) {
	if err := writeStatus(broken{}, agent.Status{}, time.Now(), english(), ""); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// broken is a console that has gone.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }

// A condition is told in the language that was asked for.
func TestStatusInItalian(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	kind, ok := contract.ConditionOf(contract.DeviceExchanged)
	if !ok {
		t.Fatal("no such condition")
	}
	h := contract.Health{Code: kind.Code, Dev: "inv-1", Severity: kind.Severity,
		Since: now.Add(-time.Minute).UnixMilli(), Text: kind.Text, Detail: "A was known, B answers"}
	var b strings.Builder
	if err := writeStatus(&b, agent.Status{Health: []contract.Health{h}}, now, italian(), ""); err != nil {
		t.Fatal(err)
	}
	if want := "avviso    inv-1: Risponde un dispositivo con un altro numero di serie: "; !strings.Contains(b.String(),
		want) {
		t.Errorf("no %q in\n%s", want, b.String())
	}
}
