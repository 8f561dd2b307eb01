package buffer

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// transientMax is how long read errors count as transient. A USB adapter that is reset or an SD card with a loose
// contact recovers, but data that was set aside or reported as lost meanwhile does not come back.
const transientMax = 5 * time.Minute

// readFault holds the times of the first and the last read error of a series. After a pause longer than transientMax a
// new series begins.
type readFault struct{ since, last time.Time }

// isTransient records a read error and reports whether it says nothing about the content of the disk, so that nothing
// may be discarded: a resource is exhausted, or the disk has refused only briefly. Called with disk held.
func (s *Store) isTransient(err error) bool {
	if !isReadError(err) {
		return isExhausted(err) || denied(err)
	}
	now := time.Now()
	if now.Sub(s.readFault.last) > transientMax {
		s.readFault.since = now
		s.log.Error("disk returns read errors, waiting for it to recover", "patience", transientMax, "err", err)
	}
	s.readFault.last = now
	return now.Sub(s.readFault.since) < transientMax
}

// isReadError reports whether err means that the disk does not return its content.
func isReadError(err error) bool { return errors.Is(err, syscall.EIO) }

// isExhausted reports whether err means that descriptors or memory are exhausted, which says nothing about the file.
func isExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// errPanic means that Badger panicked, as it does on damage.
var errPanic = errors.New("panic")

// guarded runs f, which works with Badger's files, and turns a panic in this goroutine into an error. Badger maps its
// files. Where the disk refuses a page, the kernel sends a signal, which would end the process if it did not become a
// panic.
func guarded(what string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // see debug.SetPanicOnFault
			err = fmt.Errorf("%s: page of a file: %w", what, syscall.EIO)
		default:
			err = fmt.Errorf("%s: %w: %.200s", what, errPanic, strings.TrimSpace(fmt.Sprint(r)))
		}
	}()
	if err = f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
