package drivers_test

import (
	"errors"
	"fmt"
	"testing"

	"bordo/drivers"
)

func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	inner := &drivers.Error{Op: "read", Kind: drivers.Timeout, Lost: true, Err: cause}
	outer := &drivers.Error{Op: "poll", Kind: drivers.Busy, Err: inner}
	for _, c := range []struct {
		err  error
		kind drivers.ErrorKind
		lost bool
	}{
		{nil, 0, false},
		{cause, 0, false},
		{inner, drivers.Timeout, true},
		{outer, drivers.Busy, true},
		{fmt.Errorf("wrapped: %w", inner), drivers.Timeout, true},
		{errors.Join(cause, &drivers.Error{Kind: drivers.Exception}, inner), drivers.Exception, true},
		{errors.Join(cause, &drivers.Error{Kind: drivers.Exception}), drivers.Exception, false},
	} {
		if k, l := drivers.KindOf(c.err), drivers.PortLost(c.err); k != c.kind || l != c.lost {
			t.Errorf("%v: kind %v, lost %v", c.err, k, l)
		}
	}
	if !errors.Is(outer, cause) || outer.Error() != "poll: read: cause" ||
		(&drivers.Error{Op: "read", Kind: drivers.Checksum}).Error() != "read: checksum" {
		t.Errorf("%v", outer)
	}
	for k := drivers.ErrorKind(0); k < 9; k++ {
		if (k.String() == "unknown") != (k < drivers.Timeout || k > drivers.Busy) {
			t.Errorf("kind %d is %q", k, k)
		}
	}
}
