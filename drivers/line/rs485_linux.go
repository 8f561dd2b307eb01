package line

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of struct serial_rs485 (linux/serial.h).
const (
	rs485Enabled   = 1 << 0
	rs485RTSOnSend = 1 << 1 // RTS drives the transmitter while bytes go out
)

// rs485Settings is struct serial_rs485 of the kernel; x/sys has none.
type rs485Settings struct {
	flags, delayBefore, delayAfter uint32
	_                              [5]uint32
}

// setRS485 lets the kernel switch the transmitter of a half-duplex line. Only drivers of real UARTs can; most USB adapters
// switch by themselves and need nothing.
func setRS485(fd int) error {
	s := rs485Settings{flags: rs485Enabled | rs485RTSOnSend}
	if err := ioctl(fd, unix.TIOCSRS485, unsafe.Pointer(&s)); err != nil {
		return fmt.Errorf("the kernel cannot switch the direction of this port (leave out rs485=kernel): %w", err)
	}
	return nil
}

// Counters are the faults that the kernel has counted on a serial port since its driver was loaded. They rise; what counts
// is by how much. Frame errors are a wrong speed or a bad wire, parity errors a wrong parity or a bad wire, overruns a
// machine that is too slow.
type Counters struct {
	Frame, Parity, Overrun, Break int
}

// Counted is a port that has Counters. Ask for it by a type assertion on a drivers.Port; false: the driver counts nothing.
type Counted interface {
	Counters() (Counters, bool)
}

var _ Counted = (*serialPort)(nil)

// interrupts is struct serial_icounter_struct of the kernel; x/sys has none.
type interrupts struct {
	_                                             [6]int32 // modem lines, bytes received and sent
	frame, overrun, parity, breaks, bufferOverrun int32
	_                                             [9]int32
}

// Counters implements Counted. It may be called from any goroutine.
func (p *serialPort) Counters() (Counters, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return Counters{}, false
	}
	var c interrupts
	if ioctl(p.control, unix.TIOCGICOUNT, unsafe.Pointer(&c)) != nil {
		return Counters{}, false
	}
	return Counters{Frame: int(c.frame), Parity: int(c.parity), Overrun: int(c.overrun + c.bufferOverrun), Break: int(c.breaks)}, true
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg))
	if errno != 0 && !errors.Is(errno, unix.EINTR) {
		return errno
	}
	return nil
}
