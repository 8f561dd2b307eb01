package line

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counters are the error counts of a serial port's UART since it was set up, over all users of the port.
type Counters struct {
	// characters with a wrong stop bit or parity, and characters lost because they came too fast
	Framing, Parity, Overrun int
}

// Counting is a port that counts. Counters may be called from any goroutine; it fails where the port's driver does not
// count (pseudo terminals do not).
type Counting interface {
	Counters() (Counters, error)
}

var _ Counting = (*serialPort)(nil)

// icounter is the kernel's struct serial_icounter_struct (include/uapi/linux/serial.h).
type icounter struct {
	cts, dsr, rng, dcd, rx, tx         int32
	frame, overrun, parity, brk, bufOv int32
	_                                  [9]int32
}

// Counters implements Counting.
func (p *serialPort) Counters() (Counters, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return Counters{}, os.ErrClosed
	}
	var c icounter
	if err := ioctl(p.control, unix.TIOCGICOUNT, unsafe.Pointer(&c)); err != nil {
		return Counters{}, err
	}
	return Counters{Framing: int(c.frame), Parity: int(c.parity), Overrun: int(c.overrun + c.bufOv)}, nil
}

// rs485 is the kernel's struct serial_rs485 (include/uapi/linux/serial.h).
type rs485 struct {
	flags, beforeSend, afterSend uint32
	_                            [5]uint32
}

// Flags of rs485.
const (
	rs485Enabled   = 1 << 0
	rs485RTSOnSend = 1 << 1
)

// kernelRS485 lets the kernel raise RTS while it sends.
func kernelRS485(fd int) error {
	return ioctl(fd, unix.TIOCSRS485, unsafe.Pointer(&rs485{flags: rs485Enabled | rs485RTSOnSend}))
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
