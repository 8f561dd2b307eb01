package contract

import (
	"encoding/json"
	"fmt"
)

// State is what a node is.
type State string

// The states of a node. Lost is only ever written by the broker, as the will of a session.
const (
	Online  State = "online"
	Offline State = "offline" // a clean goodbye
	Lost    State = "lost"
)

// InMemory is the Status.Store of a node that cannot use its disk: ep exists only in memory, and everything undelivered
// is lost when the node ends.
const InMemory = "memory"

// Label is a text for people, in Italian and in English.
type Label struct {
	It string `json:"it"`
	En string `json:"en"`
}

// Status is the retained message on status. Fields after SV, Node, State and Sess are absent in a will.
type Status struct {
	SV    int    `json:"sv"`
	Node  string `json:"node"`
	State State  `json:"state"`
	Sess  string `json:"sess"` // of this MQTT connection; new at each connect

	Boot    string    `json:"boot,omitempty"`   // of this start of the machine
	Ep      string    `json:"ep,omitempty"`     // the store's epoch now
	Next    uint64    `json:"next,omitempty"`   // the next seq that will be given in ep
	Lost    *uint64   `json:"lost,omitempty"`   // records lost since the node was installed; each is under a gap event
	Backlog []Backlog `json:"backlog,omitzero"` // stored, unacknowledged records; [] means that there are none
	Store   string    `json:"store,omitempty"`  // InMemory; absent: records are on the disk
	Clk     Clock     `json:"clk,omitempty"`
	Ver     string    `json:"ver,omitempty"` // of the agent
	TS      int64     `json:"ts,omitempty"`  // ms UTC

	Site     *Site    `json:"site,omitempty"`
	Cfg      string   `json:"cfg,omitempty"`       // SHA-256 of the configuration file, hex
	HW       string   `json:"hw,omitempty"`        // the board's serial number or machine id: changes with a spare box
	Sim      bool     `json:"sim,omitempty"`       // the devices are simulated
	Health   []Health `json:"health,omitzero"`     // open conditions; [] says that all is well
	Asleep   []string `json:"asleep,omitempty"`    // devices that are silent because it is night: no fault
	TLSUntil int64    `json:"tls_until,omitempty"` // ms UTC, end of the client certificate

	BytesMonth int64 `json:"bytes_month,omitempty"` // sent to the broker since the first of the month, UTC
	DiskDay    int64 `json:"disk_day,omitempty"`    // bytes written to the flash in the last 24 hours
}

// Backlog is the unacknowledged part of one epoch: n records from first to last. A record missing below first and
// outside any gap is a defect.
type Backlog struct {
	Ep    string `json:"ep"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	N     uint64 `json:"n"`
}

// Site is the location of the node.
type Site struct {
	Name string  `json:"name,omitempty"`
	Lat  float64 `json:"lat,omitempty"` // degrees, WGS 84
	Lon  float64 `json:"lon,omitempty"`
}

// Severity says how bad a condition is.
type Severity string

// The severities.
const (
	Warning Severity = "warning" // works, but needs attention
	Fault   Severity = "fault"   // something does not work
)

// Health is an open condition: a fault that has begun and has not ended.
type Health struct {
	Code     string   `json:"code"` // see the table of conditions
	Dev      string   `json:"dev,omitempty"`
	Severity Severity `json:"severity"`
	Since    int64    `json:"since"` // ms UTC
	Text     Label    `json:"text"`
	Cause    string   `json:"cause,omitempty"`  // why, where the node knows it; see the causes
	Detail   string   `json:"detail,omitempty"` // the machine's message, for the person who repairs it
	// OKSince is the time, in ms UTC, since which the fault has been absent; 0 while it is present. The condition is
	// cleared when this lasts.
	OKSince int64 `json:"ok_since,omitempty"`
	Flaps   int   `json:"flaps,omitempty"` // how many times the fault returned while the condition was open
}

// Encode returns the message. It sets SV, and writes empty values that the node knows to be empty.
func (s Status) Encode() ([]byte, error) {
	s.SV = Version
	if s.State != Lost && s.Backlog == nil {
		s.Backlog = []Backlog{}
	}
	if s.State != Lost && s.Health == nil {
		s.Health = []Health{}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	return b, nil
}

// Will returns the message that the broker is to publish when the session sess of node ends without a goodbye.
func Will(node, sess string) []byte {
	b := appendString([]byte(`{"sv":1,"node":`), node)
	b = appendString(append(b, `,"state":"lost","sess":`...), sess)
	return append(b, '}')
}

// DecodeStatus reads a message on status.
func DecodeStatus(payload []byte) (Status, error) {
	var s Status
	if err := json.Unmarshal(payload, &s); err != nil {
		return Status{}, fmt.Errorf("decode status: %w", err)
	}
	if err := checkVersion(s.SV); err != nil {
		return Status{}, fmt.Errorf("decode status: %w", err)
	}
	if err := CheckID(s.Node); err != nil {
		return Status{}, fmt.Errorf("decode status: %w", err)
	}
	switch s.State {
	case Online, Offline, Lost:
	default:
		return Status{}, fmt.Errorf("decode status: unknown state %q", s.State)
	}
	if s.Sess == "" {
		return Status{}, fmt.Errorf("decode status: no session")
	}
	return s, nil
}
