package onsite

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"

	"bordo/drivers/line"
	"bordo/drivers/modbus"
	"bordo/drivers/scan"
)

// maxOpen is how many connections a network scan opens at once: few, so that no small router mistakes it for
// an attack.
const maxOpen = 6

// tcpTotals counts the results of scanning TCP addresses.
type tcpTotals struct {
	mu          sync.Mutex
	refused     int // guarded by mu, like all fields below
	unreachable int
	open        int
	asked       int
	gateway     int
	last        error
}

func (o *tcpTotals) note(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.open++
		return
	case errors.Is(err, syscall.ECONNREFUSED):
		o.refused++
	default:
		o.unreachable++
	}
	o.last = err
}

// onTCP scans the addresses of a target. Results and likely faults are reported as events; the error is
// ctx's.
func (s *search) onTCP(ctx context.Context, t scan.Target, open scan.Open) error {
	ports := []int{t.Port}
	if t.Port == 0 {
		ports = portsOf(s.profiles)
	}
	s.addSteps(len(t.Hosts) * len(ports))
	hosts := make(chan string)
	var o tcpTotals
	var working sync.WaitGroup
	for range min(maxOpen, len(t.Hosts)) {
		working.Go(func() {
			for host := range hosts {
				s.scanHost(ctx, host, ports, open, len(t.Hosts) == 1, &o)
			}
		})
	}
	for _, host := range t.Hosts {
		select {
		case hosts <- host:
		case <-ctx.Done():
		}
	}
	close(hosts)
	working.Wait()
	if ctx.Err() == nil && !s.anyFound() {
		s.emit(scan.Event{Trouble: o.diagnose(t)})
	}
	return ctx.Err()
}

// scanHost scans one address. If a port neither accepts nor refuses the connection, the host is absent or
// hidden, and the other ports are skipped.
func (s *search) scanHost(ctx context.Context, host string, ports []int, open scan.Open, alone bool, o *tcpTotals) {
	var seen []scan.Found
	for i, port := range ports {
		if ctx.Err() != nil {
			return
		}
		e := line.Endpoint{Scheme: line.TCP, Host: net.JoinHostPort(host, strconv.Itoa(port))}
		s.nextStep(e.String(), 0)
		d := newOwnPort(open, e)
		err := d.Use(ctx, func(context.Context, *modbus.Session) error { return nil })
		if ctx.Err() != nil {
			d.Close()
			return
		}
		o.note(err)
		if err == nil {
			seen = s.scanConnection(ctx, d, e, alone, o, seen)
			d.Close()
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			s.addSteps(i + 1 - len(ports))
			return
		}
	}
}

// scanConnection probes the unit ids of a connection. seen are the devices found at other ports of the host,
// because some devices use two.
func (s *search) scanConnection(ctx context.Context, d *ownPort, e line.Endpoint, alone bool, o *tcpTotals,
	seen []scan.Found) []scan.Found {
	h := &lineStats{}
	b := s.newBus(d, e, h)
	b.seen = seen
	began := len(seen)
	likely, rest := unitsOf(s.profiles, true)
	if len(s.Units) > 0 {
		likely, rest = s.Units, nil
	}
	s.addSteps(len(likely))
	err := b.scanUnits(ctx, likely)
	// Many devices answer under one unit id or under any; behind a gateway there may be a whole line.
	if err == nil && alone && !b.everyUnit && (h.gateway > 0 || len(b.seen)-began > 1) {
		s.addSteps(len(rest))
		b.scanUnits(ctx, rest) //nolint:errcheck // devices found were already reported
	}
	if err == nil && len(b.seen) == began && h.answered+h.gateway == 0 && (alone || b.framing) {
		b.seen = append(b.seen, s.tryRTU(ctx, d.open, e, h)...)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked += h.asked
	o.gateway += h.gateway
	return b.seen
}

// maxFraming is how many unit ids are probed with RTU frames if none answers Modbus TCP.
const maxFraming = 8

// tryRTU probes with RTU frames a host that accepts connections but does not answer Modbus TCP: it may be a
// serial server.
func (s *search) tryRTU(ctx context.Context, open scan.Open, e line.Endpoint, tcp *lineStats) []scan.Found {
	e.Scheme, e.RTU, e.TolerantIDs = line.SerialOverTCP, true, false
	d, h := newOwnPort(open, e), &lineStats{}
	defer d.Close()
	b := s.newBus(d, e, h)
	b.inputToo = false
	likely, _ := unitsOf(s.profiles, false)
	if len(s.Units) > 0 {
		likely = s.Units
	}
	likely = likely[:min(len(likely), maxFraming)]
	s.addSteps(len(likely))
	b.scanUnits(ctx, likely) //nolint:errcheck // devices found were already reported
	tcp.asked += h.asked
	if len(b.seen) > 0 {
		s.emit(scan.Event{Trouble: &scan.Trouble{Cause: scan.RTUFrames, Port: e.String(),
			Detail: fmt.Sprintf("%d Modbus TCP requests without a reply", tcp.asked)}})
	}
	return b.seen
}

// diagnose returns the most likely reason why nothing was found.
func (o *tcpTotals) diagnose(t scan.Target) *scan.Trouble {
	o.mu.Lock()
	defer o.mu.Unlock()
	port := ""
	if len(t.Hosts) == 1 {
		port = t.Hosts[0]
	}
	detail := fmt.Sprintf("%d connections opened, %d refused, %d addresses unreachable", o.open, o.refused,
		o.unreachable)
	if o.last != nil && len(t.Hosts) == 1 && o.open == 0 {
		detail = o.last.Error()
	}
	switch {
	case o.gateway > 0:
		return &scan.Trouble{Cause: scan.NobodyThere, Port: port,
			Detail: fmt.Sprintf("a gateway answered %d of %d requests: no device", o.gateway, o.asked)}
	case o.open > 0:
		return &scan.Trouble{Cause: scan.NotModbus, Port: port,
			Detail: fmt.Sprintf("%d connections opened, %d requests without a reply", o.open, o.asked)}
	case o.refused > 0:
		return &scan.Trouble{Cause: scan.Refused, Port: port, Detail: detail}
	}
	return &scan.Trouble{Cause: scan.Unreachable, Port: port, Detail: detail}
}
