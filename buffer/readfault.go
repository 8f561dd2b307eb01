package buffer

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// transientMax is how long the disk may refuse to give what lies on it before that counts as damage: an adapter that is reset
// or a card with a loose contact comes back, and what was put aside or told as lost meanwhile does not.
const transientMax = 5 * time.Minute

// readFault is since when the disk refuses something.
type readFault struct{ since, last time.Time }

// isTransient notes an error of reading, and reports whether it says nothing about what is on the disk, so that nothing is given
// up for it: something is used up, or the disk has not refused for long. Called with disk held.
func (s *Store) isTransient(err error) bool {
	if !isReadError(err) {
		return isExhausted(err) || denied(err)
	}
	now := time.Now()
	if now.Sub(s.readFault.last) > transientMax {
		s.readFault.since = now
		s.log.Error("disk does not give what is on it", "patience", transientMax, "err", err)
	}
	s.readFault.last = now
	return now.Sub(s.readFault.since) < transientMax
}

// isReadError reports whether err says that the disk does not give what is on it.
func isReadError(err error) bool { return errors.Is(err, syscall.EIO) }

// isExhausted reports whether err says that there are no more descriptors or no more memory: it says nothing about the file.
func isExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// errPanic: Badger panicked, as it does on damage.
var errPanic = errors.New("panic")

// guarded runs f, which works with Badger's files, and makes an error of a panic in this goroutine. Badger maps its files:
// where the disk refuses a page of them the kernel sends a signal, which would end the process if it were not made a panic.
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
