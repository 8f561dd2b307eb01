package agent

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"time"

	"bordo/contract"
	"bordo/drivers"
	"bordo/drivers/line"
)

// System is everything of the machine that the agent touches, apart from package time and the files under its own
// directories: the real parts come from cmd/bordo, simulated ones from tests. All fields but Boot, Written,
// Notify, RootWarning and Built are required.
type System struct {
	// OpenPort opens a line's port. It blocks until the port is open, an error is known or ctx ends.
	OpenPort func(ctx context.Context, e line.Endpoint) (drivers.Port, error)
	// DialMQTT opens the plain stream to a broker; TLS is laid over it.
	DialMQTT func(ctx context.Context, u *url.URL) (net.Conn, error)
	// Wall returns the time of day and how far it can be trusted. It is the only clock that may jump; timers use
	// package time.
	Wall func() (time.Time, contract.Clock)
	// Boot identifies this start of the machine and returns how long ago it was, including sleep. With nil, each run of
	// the agent counts as a start.
	Boot func() (id string, uptime time.Duration, err error)
	// DiskFree returns how many bytes a file in dir can still grow by.
	DiskFree func(dir string) (uint64, error)
	// Written returns how many bytes this process has caused to be written to storage. With nil nothing is counted.
	Written func() (uint64, error)
	// Notify reports a state ("READY=1", "STOPPING=1") to the service manager. With nil there is none.
	Notify func(state string)
	// RootWarning returns a sentence when the process runs as root in a directory of another user, "" otherwise. With
	// nil nothing is checked.
	RootWarning func() string

	Logger  *slog.Logger
	Version string    // of the program, for status
	Built   time.Time // when the program was made, or its source: it cannot be earlier than that; zero: unknown
}
