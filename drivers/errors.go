package drivers

import (
	"errors"
	"fmt"
)

// Kind says what kind of thing went wrong; retry and back-off follow it.
type Kind uint8

// The kinds of error.
const (
	Timeout   Kind = iota + 1 // no answer, or only part of one
	Checksum                  // an answer that was damaged on the way
	Exception                 // the device refused; the line and the device are well
	Protocol                  // an answer that the request cannot have caused
	Closed                    // the port is gone
	Later                     // the device says that it is busy or asleep
)

// String gives the word that stands in logs.
func (k Kind) String() string {
	if k < Timeout || k > Later {
		return "unknown"
	}
	return [...]string{"timeout", "checksum", "exception", "protocol", "closed", "later"}[k-Timeout]
}

// Error is a fault on a line, told operation first.
type Error struct {
	Op   string // "read holding 0x0048+2"
	Kind Kind
	Lost bool // the port cannot be used any more and must be opened again
	Err  error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %s", e.Op, e.Kind)
	}
	return fmt.Sprintf("%s: %v", e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first *Error in err's tree, 0 if there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return 0
}

// Lost tells whether any *Error in err's tree says that the port must be opened again.
func Lost(err error) bool {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
		return false
	case *Error:
		return e.Lost || Lost(e.Err)
	case interface{ Unwrap() []error }:
		for _, x := range e.Unwrap() {
			if Lost(x) {
				return true
			}
		}
		return false
	}
	return Lost(errors.Unwrap(err))
}
