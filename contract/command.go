package contract

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Command is the signed body of a message on cmd: a JWS in compact form signed with Ed25519, "typ" bordo-command+jws.
type Command struct {
	SV   int            `json:"sv"`
	ID   string         `json:"id"`  // UUIDv7: executed once, however often it arrives
	Iss  string         `json:"iss"` // who signed
	Node string         `json:"node"`
	Dev  string         `json:"dev"`
	Op   string         `json:"op"` // barrier.open, relay.pulse, records.replay, ...
	Args map[string]any `json:"args"`
	Iat  int64          `json:"iat"`            // ms UTC
	Exp  int64          `json:"exp"`            // ms UTC
	Sess string         `json:"sess,omitempty"` // the node's session as the sender knows it
	By   string         `json:"by,omitempty"`
	Role string         `json:"role,omitempty"`
	Why  string         `json:"why,omitempty"`
}

// DecodeCommand reads the body of a command after its signature was verified. It checks form only, never permission.
func DecodeCommand(body []byte) (Command, error) {
	var c Command
	if err := json.Unmarshal(body, &c); err != nil {
		return Command{}, fmt.Errorf("decode command: %w", err)
	}
	if err := checkVersion(c.SV); err != nil {
		return Command{}, fmt.Errorf("decode command: %w", err)
	}
	if err := errors.Join(CheckID(c.Node), CheckID(c.Dev)); err != nil {
		return Command{}, fmt.Errorf("decode command: %w", err)
	}
	if c.ID == "" || c.Iss == "" || c.Op == "" || c.Iat <= 0 || c.Exp <= c.Iat {
		return Command{}, errors.New("decode command: id, iss, op, iat and a later exp are required")
	}
	return c, nil
}

// CommandEvent is the event type of every message on res.
const CommandEvent = "bordo.command.v1"

// CommandState is where a command is, or ended.
type CommandState string

// The states of a command. Unknown is a final answer: the command was written and no answer came. The agent never
// repeats it.
const (
	Accepted  CommandState = "accepted"
	Rejected  CommandState = "rejected"
	Running   CommandState = "running"
	Done      CommandState = "done"
	Failed    CommandState = "failed"
	Expired   CommandState = "expired"
	Duplicate CommandState = "duplicate"
	Unknown   CommandState = "unknown"
)

// Result is the data of an event on res.
type Result struct {
	ID     string       `json:"id"`
	Op     string       `json:"op"`
	Dev    string       `json:"dev"`
	State  CommandState `json:"state"`
	Code   string       `json:"code,omitempty"`   // for a program: lower case with underscores
	Detail string       `json:"detail,omitempty"` // for a person
	Value  any          `json:"value,omitempty"`  // the value read back
}

// Range is a closed interval of sequence numbers.
type Range [2]uint64

// Ack is the retained message on ack: what the platform has stored of each epoch. It replaces the one before.
type Ack struct {
	OK map[string][]Range `json:"ok"`
}

// MaxAckRanges is the maximum number of ranges of one epoch; more are refused.
const MaxAckRanges = 32

// Encode returns the message.
func (a Ack) Encode() ([]byte, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode ack: %w", err)
	}
	return b, nil
}

// DecodeAck reads a message on ack: ranges must rise and not touch below their beginning.
func DecodeAck(payload []byte) (Ack, error) {
	var a Ack
	if err := json.Unmarshal(payload, &a); err != nil {
		return Ack{}, fmt.Errorf("decode ack: %w", err)
	}
	for ep, ranges := range a.OK {
		if err := CheckEpoch(ep); err != nil {
			return Ack{}, fmt.Errorf("decode ack: %w", err)
		}
		if len(ranges) > MaxAckRanges {
			return Ack{}, fmt.Errorf("decode ack: %d ranges of epoch %s are more than %d", len(ranges), ep,
				MaxAckRanges)
		}
		below := uint64(0)
		for _, r := range ranges {
			if r[0] <= below || r[1] < r[0] || r[1] > MaxSeq {
				return Ack{}, fmt.Errorf("decode ack: range [%d,%d] of epoch %s is not above the one before", r[0],
					r[1], ep)
			}
			below = r[1]
		}
	}
	return a, nil
}
