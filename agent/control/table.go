package control

import (
	"context"
	"encoding/json"
	"fmt"

	"bordo/agent/api"
	"bordo/drivers"
	"bordo/drivers/scan"
)

// The questions as they are sent. Both ends usually have the same version: an agent refuses a question that it does not
// know.
type (
	deviceQuestion struct {
		Device string `json:"device"`
	}
	confirmQuestion struct {
		Device string    `json:"device"`
		Look   bool      `json:"look,omitempty"` // only return what there is to confirm
		Final  api.Final `json:"final,omitempty"`
	}
	rawQuestion struct {
		Line string `json:"line"`
		drivers.RawQuery
	}
	scanQuestion struct {
		Line  string `json:"line"`
		Units []int  `json:"units,omitempty"`
	}
)

// AnswersOf makes the answers of an agent.
func AnswersOf(x *api.API) Answers {
	return Answers{
		Status: func() any { return x.Status() },
		Ask: map[string]Stream{
			"read": one(func(ctx context.Context, q deviceQuestion) (api.Reading,
				error) {
				return x.Read(ctx, q.Device)
			}),
			"capture": one(func(ctx context.Context, q deviceQuestion) (string,
				error) {
				return x.Capture(ctx, q.Device)
			}),
			"raw": one(func(ctx context.Context, q rawQuestion) ([]byte,
				error) {
				return x.Raw(ctx, q.Line, q.RawQuery)
			}),
			"confirm": one(func(ctx context.Context, q confirmQuestion) (api.Exchange, error) {
				if q.Look {
					return x.Exchanged(ctx, q.Device)
				}
				return x.Confirm(ctx, q.Device, q.Final)
			}),
			"scan": many(func(ctx context.Context, q scanQuestion, say func(scan.Event) error) error {
				return x.Scan(ctx, q.Line, q.Units, say)
			}),
			"buffer": many(x.Buffer),
		},
	}
}

// one makes a stream of a question that has one answer.
func one[Q, A any](answer func(context.Context, Q) (A, error)) Stream {
	return many(func(ctx context.Context, q Q, say func(A) error) error {
		a, err := answer(ctx, q)
		if err != nil {
			return err
		}
		return say(a)
	})
}

// many makes a stream of a question that is answered part by part.
func many[Q, A any](answer func(context.Context, Q, func(A) error) error) Stream {
	return func(ctx context.Context, question []byte, say func(any) error) error {
		var q Q
		if err := json.Unmarshal(question, &q); err != nil {
			return fmt.Errorf("understand the question: %w", err)
		}
		return answer(ctx, q, func(a A) error { return say(a) })
	}
}

// Client asks the running agent; its value is the path of the socket. Its methods are those of api.API, and their
// errors those of Ask.
type Client string

// Read polls a device.
func (c Client) Read(ctx context.Context, device string) (api.Reading, error) {
	return askOne[api.Reading](ctx, c, "read", deviceQuestion{device})
}

// Capture records what a device answers.
func (c Client) Capture(ctx context.Context, device string) (string, error) {
	return askOne[string](ctx, c, "capture", deviceQuestion{device})
}

// Exchanged reports whether an exchanged device has to be confirmed.
func (c Client) Exchanged(ctx context.Context, device string) (api.Exchange, error) {
	return askOne[api.Exchange](ctx, c, "confirm", confirmQuestion{Device: device, Look: true})
}

// Confirm accepts that another device answers.
func (c Client) Confirm(ctx context.Context, device string, final api.Final) (api.Exchange, error) {
	return askOne[api.Exchange](ctx, c, "confirm", confirmQuestion{Device: device, Final: final})
}

// Raw reads what a unit of a line holds.
func (c Client) Raw(ctx context.Context, line string, q drivers.RawQuery) ([]byte, error) {
	return askOne[[]byte](ctx, c, "raw", rawQuestion{line, q})
}

// Scan looks for devices on a line.
func (c Client) Scan(ctx context.Context, line string, units []int, heard func(scan.Event) error) error {
	return askMany(ctx, c, "scan", scanQuestion{line, units}, heard)
}

// Buffer asks the store.
func (c Client) Buffer(ctx context.Context, q api.BufferQuestion, heard func(api.BufferPart) error) error {
	return askMany(ctx, c, "buffer", q, heard)
}

func askOne[A any](ctx context.Context, c Client, what string, question any) (a A, err error) {
	err = askMany(ctx, c, what, question, func(part A) error { a = part; return nil })
	return a, err
}

func askMany[A any](ctx context.Context, c Client, what string, question any, heard func(A) error) error {
	return Ask(ctx, string(c), what, question, func(raw json.RawMessage) error {
		var part A
		if err := json.Unmarshal(raw, &part); err != nil {
			return fmt.Errorf("read the agent's answer: %w", err)
		}
		return heard(part)
	})
}
