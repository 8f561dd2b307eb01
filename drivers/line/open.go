package line

import (
	"context"
	"fmt"

	"bordo/drivers"
)

// Open opens the port of the endpoint. It returns within 5 s, or when ctx ends. Errors are *drivers.Error with Lost
// set, and say what is wrong and what to do. A port behind TCP is a drivers.Reopener.
func Open(ctx context.Context, e Endpoint) (drivers.Port, error) {
	switch e.Scheme {
	case TCP, SerialOverTCP:
		return Reopening(ctx, func(ctx context.Context) (drivers.Port, error) { return openSocket(ctx, e) })
	case Serial:
		if err := ctx.Err(); err != nil {
			return nil, gone("open "+e.String(), err)
		}
		return openSerial(e)
	}
	return nil, gone("open "+e.String(), fmt.Errorf("unknown kind of port %q", e.Scheme))
}

// gone returns the error of a port that is unusable or no longer usable.
func gone(op string, cause error) error {
	return &drivers.Error{Op: op, Kind: drivers.Closed, Lost: true, Err: cause}
}
