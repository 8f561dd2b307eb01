package line

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"

	"bordo/drivers"
)

// beltTimeout is the timeout of the data path itself. The control descriptor does the waiting; this timeout only
// ensures that a Read that found nothing returns. It is never 0: with 0, tarm/serial's Close hangs as long as a Read is
// blocked, because the runtime takes its descriptor for one that poll can wake.
const beltTimeout = 100 * time.Millisecond

// writeChunk keeps one write below what a terminal that says "writable" takes without blocking.
const writeChunk = 256

// Sides of a port, each with its own wake-up.
const (
	readSide = iota
	writeSide
	watchSide
	sides
)

// serialPort is a serial line as a Port. tarm/serial carries the data. A second descriptor on the same terminal
// (control) provides what tarm/serial cannot: millisecond deadlines, cancellation, hang-up detection and exclusive use.
type serialPort struct {
	path    string
	data    *serial.Port
	control int
	wake    [sides]int // eventfds

	mu       sync.Mutex
	deadline time.Time // guarded by mu
	closed   bool      // guarded by mu

	busy [sides]sync.Mutex // held while a Read, a Write or the watch uses the descriptors
	gone chan struct{}     // closed when the adapter was unplugged
}

var _ interface {
	drivers.Port
	drivers.Closer
} = (*serialPort)(nil)

func openSerial(e Endpoint) (drivers.Port, error) {
	op := "open " + e.String()
	// The control descriptor comes first: the second open must not reprogram a port that another program holds.
	control, err := unix.Open(e.Path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, gone(op, explainOpen(e.Path, err))
	}
	p := &serialPort{path: e.Path, control: control, wake: [sides]int{-1, -1, -1}, gone: make(chan struct{})}
	if err := p.setUp(e); err != nil {
		return nil, gone(op, errors.Join(explainOpen(e.Path, err), p.Close()))
	}
	p.busy[watchSide].Lock()
	go p.watch()
	return p, nil
}

// setUp locks the port, opens the data path and makes the wake-ups.
func (p *serialPort) setUp(e Endpoint) error {
	if _, err := unix.IoctlGetTermios(p.control, unix.TCGETS); err != nil {
		return err
	}
	if err := unix.Flock(p.control, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	data, err := serial.OpenPort(&serial.Config{
		Name: e.Path, Baud: e.Baud, Size: byte(e.Bits), StopBits: serial.StopBits(e.Stop),
		Parity: map[Parity]serial.Parity{NoParity: serial.ParityNone, EvenParity: serial.ParityEven,
			OddParity: serial.ParityOdd}[e.Parity],
		ReadTimeout: beltTimeout,
	})
	if err != nil {
		return err
	}
	p.data = data
	if err := p.showParity(e.Parity); err != nil {
		return fmt.Errorf("set parity: %w", err)
	}
	// A pseudo terminal keeps unread bytes, which would look like the traffic of another master here.
	if err := unix.IoctlSetInt(p.control, unix.TCFLSH, unix.TCIFLUSH); err != nil {
		return fmt.Errorf("drop what came before: %w", err)
	}
	if err := unix.IoctlSetInt(p.control, unix.TIOCEXCL, 0); err != nil {
		return fmt.Errorf("take it for ourselves: %w", err)
	}
	if e.RS485 {
		if err := kernelRS485(p.control); err != nil {
			return fmt.Errorf("rs485=on: this port cannot do that, leave it out (its adapter switches by itself, or not at all): %w", err)
		}
	}
	for side := range p.wake {
		if p.wake[side], err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			return fmt.Errorf("make a wake-up: %w", err)
		}
	}
	return nil
}

// showParity marks a pseudo terminal that was opened with parity. There the kernel drops PARENB and keeps INPCK, so
// that the other end, a simulated device, can see the parity. A real line keeps PARENB and is not marked: INPCK would
// drop characters there.
func (p *serialPort) showParity(parity Parity) error {
	ts, err := unix.IoctlGetTermios(p.control, unix.TCGETS)
	if err != nil || parity == NoParity || ts.Cflag&unix.PARENB != 0 {
		return err
	}
	ts.Iflag |= unix.INPCK
	return unix.IoctlSetTermios(p.control, unix.TCSETS, ts)
}

// Read implements drivers.Port. When the deadline has passed it still gives the bytes that are already there.
func (p *serialPort) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	p.busy[readSide].Lock()
	defer p.busy[readSide].Unlock()
	for {
		events, err := p.await(readSide, unix.POLLIN)
		if err != nil {
			return 0, err
		}
		if events&unix.POLLIN != 0 {
			n, err := p.data.Read(b)
			if n > 0 {
				return n, nil
			}
			if err != nil && !errors.Is(err, io.EOF) { // EOF is how tarm/serial says "nothing"
				return 0, p.lost("read", err)
			}
		}
		if events&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
			return 0, p.lost("read", unix.EIO)
		}
	}
}

// Write implements drivers.Port. It returns when the bytes are with the kernel, not when they are on the wire.
func (p *serialPort) Write(b []byte) (int, error) {
	p.busy[writeSide].Lock()
	defer p.busy[writeSide].Unlock()
	sent := 0
	for sent < len(b) {
		events, err := p.await(writeSide, unix.POLLOUT)
		if err != nil {
			return sent, err
		}
		if events&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
			return sent, p.lost("write", unix.EIO)
		}
		n, err := p.data.Write(b[sent:min(len(b), sent+writeChunk)])
		sent += n
		if err != nil {
			return sent, p.lost("write", err)
		}
	}
	return sent, nil
}

// SetDeadline implements drivers.Port.
func (p *serialPort) SetDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return p.lost("set deadline", os.ErrClosed)
	}
	p.deadline = t
	p.rouse(p.wake[readSide], p.wake[writeSide])
	return nil
}

// Close implements drivers.Port. It ends a pending Read or Write immediately.
func (p *serialPort) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	if first {
		p.rouse(p.wake[:]...)
	}
	p.mu.Unlock()
	if !first {
		return nil
	}
	if p.data != nil {
		// Releases a write that waits for a peer that no longer reads. A lost port answers EIO, which is just as good.
		_ = unix.IoctlSetInt(p.control, unix.TCFLSH, unix.TCOFLUSH)
	}
	for side := range p.busy {
		p.busy[side].Lock()
		defer p.busy[side].Unlock()
	}
	var err error
	if p.data != nil {
		_ = unix.IoctlSetInt(p.control, unix.TIOCNXCL, 0) // the next open of this path must not find it taken
		err = p.data.Close()
	}
	for _, fd := range append(p.wake[:], p.control) {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	if err != nil {
		return p.lost("close", err)
	}
	return nil
}

// Done implements drivers.Watched.
func (p *serialPort) Done() <-chan struct{} { return p.gone }

// watch notices immediately when the adapter is unplugged, even while nothing reads. It ends with that or with Close,
// and holds the lock of its side until then.
func (p *serialPort) watch() {
	defer p.busy[watchSide].Unlock()
	for {
		fds := []unix.PollFd{{Fd: int32(p.control)}, {Fd: int32(p.wake[watchSide]), Events: unix.POLLIN}}
		_, err := unix.Ppoll(fds, nil, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil, fds[1].Revents != 0:
			return
		case fds[0].Revents != 0:
			close(p.gone)
			return
		}
	}
}

// rouse wakes sides by their eventfds. The caller holds mu.
func (p *serialPort) rouse(eventfds ...int) {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	for _, fd := range eventfds {
		if fd >= 0 {
			_, _ = unix.Write(fd, one[:]) // fails only when the counter is full, and then it is awake already
		}
	}
}

// await waits until the terminal is ready for the given events or lost, and returns its poll events. When the deadline
// has passed, it checks once more without waiting before it returns.
func (p *serialPort) await(side int, events int16) (int16, error) {
	for {
		p.mu.Lock()
		deadline, closed := p.deadline, p.closed
		if !closed {
			var drop [8]byte
			_, _ = unix.Read(p.wake[side], drop[:]) // what woke us is read under mu, so none is missed
		}
		p.mu.Unlock()
		if closed {
			return 0, p.lost("use", os.ErrClosed)
		}
		wait := time.Duration(math.MaxInt32) * time.Second
		if !deadline.IsZero() {
			wait = max(time.Until(deadline), 0)
		}
		fds := []unix.PollFd{{Fd: int32(p.control), Events: events}, {Fd: int32(p.wake[side]), Events: unix.POLLIN}}
		ts := unix.NsecToTimespec(wait.Nanoseconds())
		n, err := unix.Ppoll(fds, &ts, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, p.lost("wait for", err)
		case fds[0].Revents != 0:
			return fds[0].Revents, nil
		case n == 0 && wait == 0:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (p *serialPort) lost(op string, err error) error {
	if errors.Is(err, unix.EIO) {
		err = fmt.Errorf("the adapter was unplugged or switched off: %w", err)
	}
	return gone(op+" "+p.path, err)
}

// explainOpen says why a serial port could not be opened.
func explainOpen(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("no such port (is the adapter plugged in?): %w", err)
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("the port exists but no device is behind it: %w", err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("permission denied (add the user to group %s): %w", groupOf(path), err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("busy: another program has it open: %w", err)
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EISDIR):
		return fmt.Errorf("not a serial port: %w", err)
	}
	return err
}

// groupOf names the group that may use a port; Debian's is dialout.
func groupOf(path string) string {
	const usual = "dialout"
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Gid == 0 {
		return usual
	}
	g, err := user.LookupGroupId(strconv.Itoa(int(st.Gid)))
	if err != nil {
		return usual
	}
	return g.Name
}
