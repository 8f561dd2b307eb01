package drivers

import (
	"errors"
	"fmt"
)

// ErrorKind says what kind of thing went wrong; retry and back-off follow it.
type ErrorKind uint8

// The kinds of error.
const (
	Timeout   ErrorKind = iota + 1 // no answer, or only part of one
	Checksum                       // an answer that was damaged on the way
	Exception                      // the device refused; the line and the device are well
	Protocol                       // an answer that the request cannot have caused
	Closed                         // the port is lost
	Busy                           // the device says that it is busy or asleep
)

// String returns the word used in logs.
func (k ErrorKind) String() string {
	if k < Timeout || k > Busy {
		return "unknown"
	}
	return [...]string{"timeout", "checksum", "exception", "protocol", "closed", "later"}[k-Timeout]
}

// Cause names a fault more precisely than its Kind where this changes what a person has to do. The zero value is none.
type Cause uint8

// The causes.
const (
	WrongTransaction Cause = iota + 1 // answers carry another transaction id than their request
	WrongUnit                         // another unit id answers than the one addressed
	// the other side speaks Modbus TCP where serial frames are configured, or the reverse
	WrongFraming
	HungUp      // the other side closes the connection instead of answering
	Noise       // bytes that are no frame
	EchoOnly    // the line returns what is sent, and nothing else
	OtherMaster // the line is never silent
)

// String returns the word used in logs and in JSON, "" for no cause.
func (c Cause) String() string {
	if c > OtherMaster {
		return ""
	}
	return [...]string{"", "wrong_transaction", "wrong_unit", "wrong_framing", "hung_up", "noise", "echo",
		"other_master"}[c]
}

// Error is a fault on a line. Its text begins with the operation.
type Error struct {
	Op    string // "read holding 0x0048+2"
	Kind  ErrorKind
	Cause Cause
	Lost  bool // the port is unusable and must be opened again
	Err   error
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
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return 0
}

// CauseOf returns the first cause in err's tree, 0 if there is none.
func CauseOf(err error) Cause {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
		return 0
	case *Error:
		if e.Cause != 0 {
			return e.Cause
		}
	case interface{ Unwrap() []error }:
		for _, x := range e.Unwrap() {
			if c := CauseOf(x); c != 0 {
				return c
			}
		}
		return 0
	}
	return CauseOf(errors.Unwrap(err))
}

// PortLost reports whether any *Error in err's tree means that the port must be opened again.
func PortLost(err error) bool {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
		return false
	case *Error:
		return e.Lost || PortLost(e.Err)
	case interface{ Unwrap() []error }:
		for _, x := range e.Unwrap() {
			if PortLost(x) {
				return true
			}
		}
		return false
	}
	return PortLost(errors.Unwrap(err))
}
