package sim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bordo/drivers/line"
)

// terminal is a pseudo terminal: a serial line without hardware. Clients open Path, a symbolic link whose name stays
// when the terminal is recreated.
type terminal struct {
	*os.File          // the device's side
	line     *os.File // the client's side, held open: else the kernel hangs up when the first client leaves
	path     string
	closing  sync.Once
	closed   error // what closing it gave
}

// openTerminal makes a pseudo terminal in raw mode and links it at path.
func openTerminal(path string) (*terminal, error) {
	master, tty, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open pseudo terminal: %w", err)
	}
	t := &terminal{line: tty, path: path}
	t.File, err = pollable(master)
	if err == nil {
		_, err = term.MakeRaw(int(tty.Fd()))
	}
	if err == nil {
		err = relink(tty.Name(), path)
	}
	if err != nil {
		t.Close() //nolint:errcheck // the first error is the one to tell
		return nil, fmt.Errorf("open pseudo terminal: %w", err)
	}
	return t, nil
}

// pollable gives the same file to the runtime's poller, so that deadlines work and Close ends a Read: the pty package
// leaves it in blocking mode.
func pollable(f *os.File) (*os.File, error) {
	defer f.Close() //nolint:errcheck // its duplicate lives on
	fd, err := unix.FcntlInt(f.Fd(), syscall.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd) //nolint:errcheck // nothing was written
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// relink atomically puts a symbolic link at path, replacing an existing one.
func relink(target, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// settings returns the endpoint with the speed and parity that the client has set. A pseudo terminal drops PARENB and
// the character size, so parity shows only in PARODD, or in INPCK, which package line and libmodbus set together with
// parity. The even parity of a client that sets neither cannot be distinguished from none. The settings of a closed
// terminal are unknown: the endpoint is returned unchanged.
func (t *terminal) settings(e line.Endpoint) line.Endpoint {
	raw, err := t.line.SyscallConn()
	if err != nil {
		return e
	}
	raw.Control(func(fd uintptr) { //nolint:errcheck // fails when the terminal is closed
		ts, err := unix.IoctlGetTermios(int(fd), unix.TCGETS2)
		if err != nil {
			return
		}
		e.Baud, e.Parity = int(ts.Ospeed), line.NoParity
		switch {
		case ts.Cflag&unix.PARODD != 0:
			e.Parity = line.OddParity
		case ts.Iflag&unix.INPCK != 0:
			e.Parity = line.EvenParity
		}
	})
	return e
}

// set gives the terminal the settings of a line, for a client that opens it without setting any.
func (t *terminal) set(e line.Endpoint) error {
	ts, err := unix.IoctlGetTermios(int(t.line.Fd()), unix.TCGETS2)
	if err != nil {
		return err
	}
	ts.Cflag = ts.Cflag&^(unix.CBAUD|unix.PARODD|unix.CSTOPB) | unix.BOTHER
	ts.Ispeed, ts.Ospeed = uint32(e.Baud), uint32(e.Baud)
	ts.Iflag &^= unix.INPCK
	if e.Parity != line.NoParity {
		ts.Iflag |= unix.INPCK
	}
	if e.Parity == line.OddParity {
		ts.Cflag |= unix.PARODD
	}
	if e.Stop == 2 {
		ts.Cflag |= unix.CSTOPB
	}
	return unix.IoctlSetTermios(int(t.line.Fd()), unix.TCSETS2, ts)
}

// nowhereTerminal is the target of the link of a removed line: an agent that is started or checked meanwhile still
// recognises from its configuration that the line is simulated.
const nowhereTerminal = "/dev/pts/gone"

// Close hangs up: clients read an end of file, as when an adapter is unplugged. It also removes the link.
//
// Only the first call has an effect. Once the terminal is closed, the kernel may give its name to another one, whose
// link a second call would remove.
func (t *terminal) Close() error {
	t.closing.Do(func() { t.closed = t.close() })
	return t.closed
}

func (t *terminal) close() error {
	if target, err := os.Readlink(t.path); err == nil && target == t.line.Name() {
		os.Remove(t.path) //nolint:errcheck // a link that leads nowhere does no harm
	}
	err := t.line.Close()
	if t.File != nil {
		err = errors.Join(err, t.File.Close())
	}
	return err
}
