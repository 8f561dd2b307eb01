package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"bordo/agent"
	"bordo/agent/clock"
	"bordo/agent/config"
	"bordo/agent/owner"
	"bordo/contract"
	"bordo/drivers/line"
)

// system is the real machine.
func system(cfg *config.Config, log *slog.Logger) agent.System {
	return agent.System{
		OpenPort: line.Open,
		DialMQTT: dial,
		Wall:     wall(cfg.Clock.Trust, kernelSynced),
		Boot:     boot,
		DiskFree: diskFree,
		Written:  written,
		Notify:   notifier(log),
		RootWarning: func() string {
			return cmp.Or(owner.RootIn(cfg.Buffer.Dir), owner.RootIn(cfg.StateDir))
		},
		Logger:  log,
		Version: version,
		Built:   builtAt(source, buildInfo()),
	}
}

// sendPatience is how long the kernel retransmits unacknowledged data to the broker before it drops the connection.
// Without it, a silently dead link would be noticed only after a quarter of an hour.
const sendPatience = 30 * time.Second

// dial opens the plain stream to a broker.
func dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second,
			Count: 3},
		Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			if rawErr := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT,
					int(sendPatience.Milliseconds()))
			}); rawErr != nil {
				return rawErr
			}
			return err
		},
	}
	return d.DialContext(ctx, "tcp", u.Host)
}

// wall makes the agent's clock. synced asks whether something keeps the clock set.
func wall(trust config.Trust, synced func() bool) func() (time.Time, contract.Clock) {
	return func() (time.Time, contract.Clock) {
		if trust == config.TrustSystem || synced() {
			return time.Now(), contract.ClockSync
		}
		return time.Now(), contract.ClockFree
	}
}

// kernelSynced asks the kernel whether its clock is being synchronised: timesyncd, chrony and other daemons report that
// to it.
func kernelSynced() bool {
	d, err := clock.Kernel()
	return err == nil && d.Synced
}

// diskFree asks the file system that dir is on, or will be on once it is made.
func diskFree(dir string) (uint64, error) {
	for {
		var s unix.Statfs_t
		err := unix.Statfs(dir, &s)
		if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("ask free space of %s: %w", dir, err)
		}
		return s.Bavail * uint64(s.Bsize), nil //nolint:unconvert // Bsize is an int32 on arm
	}
}

// notifier returns a function that reports the agent's state to the service manager (sd_notify(3)); nil when there is
// none.
func notifier(log *slog.Logger) func(state string) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("notify service manager", "state", state, "err", err)
		}
	}
}

// written returns the number of bytes that this process has caused to be written to storage, as the kernel accounts
// them (proc(5), write_bytes of /proc/PID/io).
func written() (uint64, error) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			return strconv.ParseUint(strings.TrimSpace(n), 10, 64)
		}
	}
	return 0, errors.New("read /proc/self/io: no write_bytes")
}

// boot identifies this start of the machine and returns how long ago it was.
func boot() (string, time.Duration, error) {
	id, err := clock.BootID()
	if err != nil {
		return "", 0, err
	}
	up, err := clock.Uptime()
	return id, up, err
}
