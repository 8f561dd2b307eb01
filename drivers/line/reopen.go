package line

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"bordo/drivers"
)

// reopening is a port that can be opened again in place.
type reopening struct {
	open func(context.Context) (drivers.Port, error)

	mu   sync.Mutex
	port drivers.Port // guarded by mu: the one in use, nil after a Reopen that failed
}

var (
	_ drivers.Port     = (*reopening)(nil)
	_ drivers.Reopener = (*reopening)(nil)
)

// Reopening opens a port that is a drivers.Reopener: Reopen calls open again. The methods of the port that came before
// go to the new one from then on.
func Reopening(ctx context.Context, open func(context.Context) (drivers.Port, error)) (drivers.Port, error) {
	port, err := open(ctx)
	if err != nil {
		return nil, err
	}
	return &reopening{open: open, port: port}, nil
}

// errNotReopened is the cause of a port whose Reopen failed.
var errNotReopened = errors.New("the connection could not be opened again")

// current returns the port in use.
func (r *reopening) current() (drivers.Port, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.port == nil {
		return nil, gone("use the port", errNotReopened)
	}
	return r.port, nil
}

// Reopen implements drivers.Reopener.
func (r *reopening) Reopen(ctx context.Context) error {
	r.mu.Lock()
	before := r.port
	r.port = nil
	r.mu.Unlock()
	if before != nil {
		if err := before.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	port, err := r.open(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.port = port
	return nil
}

// Read implements drivers.Port.
func (r *reopening) Read(b []byte) (int, error) {
	p, err := r.current()
	if err != nil {
		return 0, err
	}
	return p.Read(b)
}

// Write implements drivers.Port.
func (r *reopening) Write(b []byte) (int, error) {
	p, err := r.current()
	if err != nil {
		return 0, err
	}
	return p.Write(b)
}

// SetDeadline implements drivers.Port.
func (r *reopening) SetDeadline(t time.Time) error {
	p, err := r.current()
	if err != nil {
		return err
	}
	return p.SetDeadline(t)
}

// Close implements drivers.Port.
func (r *reopening) Close() error {
	p, err := r.current()
	if err != nil {
		return nil // closed by the Reopen that failed
	}
	return p.Close()
}
