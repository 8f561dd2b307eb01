// Package control connects the programs of one box: HTTP over a Unix socket of the running agent.
//
// Access to the socket grants access to the agent; the agent's user and its group have it. The package also ensures
// that one state directory and one socket belong to one agent. The questions are those of package api.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrTaken is matched by the errors of Claim and Listen when another agent is there already.
var ErrTaken = errors.New("another bordo runs with this configuration")

// ErrNotRunning is matched by the errors of Status and Ask when nothing answers at the socket.
var ErrNotRunning = errors.New("the agent does not run")

// Limits of the exchange.
const (
	maxAnswer = 8 << 20 // bytes of a status
	maxHeader = 8 << 10 // bytes of a question's header
	patience  = 5 * time.Second
)

// Claim holds a directory for one process. It ends with the process, however that ends.
type Claim struct{ dir *os.File }

// TakeDir claims the directory, and creates it if it is missing. It writes nothing into it: the lock is on the
// directory itself, so that it works on a full disk.
func TakeDir(dir string) (*Claim, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("claim state directory: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("claim state directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return &Claim{f}, nil
	}
	f.Close() //nolint:errcheck // nothing was written
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: it holds %s", ErrTaken, dir)
	}
	return nil, fmt.Errorf("claim state directory %s: %w", dir, err)
}

// Release gives the directory up.
func (c *Claim) Release() error { return c.dir.Close() }

// Listen opens the socket for its owner and group. It replaces a socket that a dead process left behind. It leaves
// alone one that answers, and a path where something else exists. Closing the listener removes the socket.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	switch old, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open control socket: %w", err)
	case old.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("open control socket: %s is there and no socket: remove it or name another one", path)
	default:
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "unix", path)
		if err == nil {
			conn.Close() //nolint:errcheck // it was only a question
			return nil, fmt.Errorf("%w: it answers at %s", ErrTaken, path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("open control socket: %w", err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("replace control socket: %w", err)
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	// Until here only the owner can connect (unless the umask is open): that takes the right to write.
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close() //nolint:errcheck // the other error tells more
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return newConns(l), nil
}

// Answers are what an agent can be asked. They are called from several goroutines.
type Answers struct {
	Status func() any        // must marshal to JSON
	Ask    map[string]Stream // by name: lower case letters
}

// Stream answers one question, part by part. question is JSON. say sends one part, which must marshal to JSON. It fails
// when the client has left, and ctx then ends.
type Stream func(ctx context.Context, question []byte, say func(part any) error) error

// Serve answers on l until ctx ends, and closes l.
func Serve(ctx context.Context, l net.Listener, answers Answers, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		defer answering(r)()
		body, err := json.Marshal(answers.Status())
		if err != nil {
			log.Error("encode status", "err", err)
			http.Error(w, "the status cannot be told", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(append(body, '\n')) //nolint:errcheck // who asked has gone
	})
	free := make(chan struct{}, maxAsked)
	for name, stream := range answers.Ask {
		mux.HandleFunc("POST /v1/ask/"+name,
			func(w http.ResponseWriter, r *http.Request) { serveStream(w, r, stream, free) })
	}
	server := &http.Server{
		Handler: refuseLarge(mux), ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: patience,
		IdleTimeout:    patience,
		MaxHeaderBytes: maxHeader,
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnContext:    connContext,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	var waiting sync.WaitGroup
	served := make(chan struct{})
	waiting.Go(func() {
		select {
		case <-ctx.Done():
		case <-served:
		}
		if c, ok := l.(*conns); ok {
			c.end()
		}
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if server.Shutdown(ending) != nil { // answers end with ctx; a client that does not read the rest is cut off
			server.Close() //nolint:errcheck // the error of Shutdown was that time is up
		}
	})
	err := server.Serve(l)
	close(served)
	waiting.Wait()
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve control socket: %w", err)
}

// refuseLarge refuses what announces more than any question has, before anything of it is read.
func refuseLarge(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxQuestion {
			refuse(w, "the question is too long", http.StatusRequestEntityTooLarge)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// client speaks with the socket at path.
func client(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: patience}).DialContext(ctx, "unix", path)
		},
	}}
}

// failed returns why a question could not be asked.
func failed(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: nobody answers at %s", ErrNotRunning, path)
	}
	return fmt.Errorf("ask the agent at %s: %w", path, cause(err))
}

// Status asks the agent at the socket for its status and returns the answer, a JSON object.
func Status(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://bordo/v1/status", nil)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	for {
		body, again, err := status(req, path)
		if err == nil || !again || ctx.Err() != nil {
			return body, err
		}
		select {
		case <-time.After(patience / 50): // the socket is being flooded
		case <-ctx.Done():
		}
	}
}

// status asks once. again means that the connection was cut before the answer came, as an overloaded server does.
func status(req *http.Request, path string) (body []byte, again bool, err error) {
	answer, err := client(path).Do(req)
	if err != nil {
		return nil, isCut(err), failed(path, err)
	}
	defer answer.Body.Close() //nolint:errcheck // nothing was written
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, isCut(err), fmt.Errorf("ask the agent at %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK || !json.Valid(body) {
		return nil, false, fmt.Errorf("ask the agent at %s: it answers %s", path, answer.Status)
	}
	return body, false, nil
}

// isCut reports whether a question, which may be repeated, failed on an established connection, or found too many
// waiting. net/http has its own errors for a connection that the server closes before the request is written, so
// everything but a failed dial counts.
func isCut(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return errors.Is(err, syscall.EAGAIN)
	}
	return true
}

// cause drops what net/http and net wrap around the reason: the made-up address is no help to anybody.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
