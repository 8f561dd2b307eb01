package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Limits of a question that is answered part by part.
const (
	maxQuestion = 64 << 10 // bytes of a question
	maxPart     = 4 << 20  // bytes of a part of an answer
	// listening is how long sending one part may wait for the client: a person may read a long answer page by page.
	listening = 10 * time.Minute
)

// message is one line of an answer. The last one has Done or Error; without it the answer was cut off.
type message struct {
	Part  json.RawMessage `json:"part,omitempty"`
	Error string          `json:"error,omitempty"`
	Done  bool            `json:"done,omitempty"`
}

// Refusal is an error of the agent, in its words.
type Refusal struct{ Text string }

// Error gives the agent's words.
func (r Refusal) Error() string { return r.Text }

// serveStream answers one question when free has room for it. Its context ends when the client hangs up, or with the
// server.
func serveStream(w http.ResponseWriter, r *http.Request, stream Stream, free chan struct{}) {
	question, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
	if err != nil {
		refuse(w, "the question is too long, or was cut off", http.StatusBadRequest)
		return
	}
	defer answering(r)()
	if !takeTurn(r, free) {
		refuse(w, fmt.Sprintf("%d questions are being answered", maxAsked), http.StatusServiceUnavailable)
		return
	}
	defer func() { <-free }()
	conn := http.NewResponseController(w)
	// The server's own timeouts are meant for questions that are answered immediately. Each part has its own timeout
	// instead, so that a client that does not read is not waited for endlessly, and only briefly once the server stops.
	conn.SetReadDeadline(time.Time{}) //nolint:errcheck // a Unix socket has deadlines
	hurry := context.AfterFunc(r.Context(), func() {
		conn.SetWriteDeadline(time.Now().Add(patience / 5)) //nolint:errcheck // a Unix socket has deadlines
	})
	defer hurry()
	w.Header().Set("Content-Type", "application/x-ndjson")
	send := func(m message) error {
		line, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
		if r.Context().Err() == nil {
			conn.SetWriteDeadline(time.Now().Add(listening)) //nolint:errcheck // a Unix socket has deadlines
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		return conn.Flush()
	}
	err = stream(r.Context(), question, func(part any) error {
		body, err := json.Marshal(part)
		if err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
		return send(message{Part: body})
	})
	last := message{Done: true}
	if err != nil {
		last = message{Error: err.Error()}
	}
	send(last) //nolint:errcheck // who asked has gone
}

// refuse answers with an error and ends the connection. It may be later by now than the server's own time-outs allow.
func refuse(w http.ResponseWriter, text string, code int) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience)) //nolint:errcheck // a Unix socket has deadlines
	w.Header().Set("Connection", "close")
	http.Error(w, text, code)
}

// Ask asks the agent at the socket and passes each part of its answer to heard, whose error ends the question. The
// error is a Refusal when the agent says why it does not answer. It takes as long as the answer: ctx ends it.
func Ask(ctx context.Context, path, what string, question any, heard func(part json.RawMessage) error) error {
	body, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://bordo/v1/ask/"+what, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	answer, err := client(path).Do(req)
	if err != nil {
		return failed(path, err)
	}
	defer answer.Body.Close() //nolint:errcheck // nothing was written
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return fmt.Errorf("ask the agent at %s: it does not know %q: it is of another version than this program, so restart it", path, what)
	case http.StatusServiceUnavailable:
		return fmt.Errorf("ask the agent at %s: it answers too many others at present: try again", path)
	default:
		return fmt.Errorf("ask the agent at %s: it answers %s", path, answer.Status)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, maxPart)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("ask the agent at %s: %w", path, err)
		}
		switch {
		case m.Done:
			return nil
		case m.Error != "":
			return Refusal{m.Error}
		}
		if err := heard(m.Part); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("ask the agent at %s: %w", path, err)
	}
	return fmt.Errorf("ask the agent at %s: %w", path, errors.New("it ended in the middle of its answer"))
}
