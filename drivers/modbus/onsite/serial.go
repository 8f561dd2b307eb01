package onsite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/scan"
)

// How long to listen on a serial line before sending anything. Most masters poll more often than that.
const (
	firstListen = 1500 * time.Millisecond
	nextListen  = 700 * time.Millisecond // to find the speed of the other master
)

// onSerial scans a serial port with unknown settings. It listens first and stops if it hears another master,
// because two masters would take each other's replies. Then it probes the likely unit ids with each setting.
// Once a device answers, it probes the remaining ids with that setting; the other settings only with
// AllSpeeds, because a line normally has one speed. Results, likely faults, and what was not probed are
// reported as events. The error is that of an unusable port, or ctx's.
func (s *search) onSerial(ctx context.Context, path string, open scan.Open) error {
	settings := settingsOf(s.profiles, path)
	likely, rest := unitsOf(s.profiles, false)
	if len(s.Units) > 0 {
		likely, rest = s.Units, nil
	}
	s.addSteps(len(settings) * len(likely))
	h := &lineStats{}
	if master, err := s.detectMaster(ctx, settings, open, h); err != nil || master {
		return err
	}
	for i := 0; i < len(settings); i++ {
		noise := h.noise
		found, err := s.scanSetting(ctx, settings[i], open, h, likely, true)
		if err != nil {
			return err
		}
		if found != nil {
			s.addSteps(len(rest))
			if !s.AllSpeeds {
				s.addSteps(-(len(settings) - i - 1) * len(likely))
			}
			err := found.scanUnits(ctx, rest)
			found.close()
			if err == nil {
				err = s.otherSettings(ctx, settings, i, open, h, likely, rest)
			}
			return s.conclude(ctx, err, h, path)
		}
		if h.noise > noise {
			sameSpeedNext(settings[i+1:], settings[i].Baud)
		}
	}
	s.addSteps(len(settings) * len(rest))
	for i, e := range settings {
		if len(rest) == 0 {
			break
		}
		found, err := s.scanSetting(ctx, e, open, h, rest, false)
		if err != nil {
			return err
		}
		if found != nil {
			found.close()
			s.reportUnasked(e, nil, settings[i+1:], likely)
			break
		}
	}
	return s.conclude(ctx, nil, h, path)
}

// otherSettings continues after a device was found with settings[i]. With AllSpeeds it probes the likely ids
// with the remaining settings. In either case it reports what was not probed.
func (s *search) otherSettings(ctx context.Context, settings []line.Endpoint, i int, open scan.Open, h *lineStats,
	likely, rest []int) error {
	partly := settings[:i:i]
	if !s.AllSpeeds {
		if len(rest) == 0 {
			partly = nil // all requested ids were probed
		}
		s.reportUnasked(settings[i], settings[i+1:], partly, likely)
		return nil
	}
	for _, e := range settings[i+1:] {
		found, err := s.scanSetting(ctx, e, open, h, likely, true)
		if err != nil {
			return err
		}
		if found == nil {
			partly = append(partly, e)
			continue
		}
		s.addSteps(len(rest))
		err = found.scanUnits(ctx, rest)
		found.close()
		if err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		s.reportUnasked(settings[i], nil, partly, likely)
	}
	return nil
}

// reportUnasked reports the settings and unit ids that were not probed.
func (s *search) reportUnasked(at line.Endpoint, none, partly []line.Endpoint, likely []int) {
	urls := func(list []line.Endpoint) (out []string) {
		for _, e := range list {
			out = append(out, e.String())
		}
		return out
	}
	u := &scan.Unasked{Port: at.String(), Settings: urls(none), Partly: urls(partly)}
	if len(u.Partly) > 0 {
		u.Units = slices.Sorted(slices.Values(likely))
	}
	if len(u.Settings)+len(u.Partly) > 0 {
		s.emit(scan.Event{Unasked: u})
	}
}

// ownBus is a bus with the port that the scan opened for it.
type ownBus struct {
	*bus
	port *ownPort
}

func (b *ownBus) close() { b.port.Close() }

// scanSetting probes unit ids with one setting of the port. If it finds a device it returns the bus, still
// open.
func (s *search) scanSetting(ctx context.Context, e line.Endpoint, open scan.Open, h *lineStats, units []int,
	inputToo bool) (*ownBus, error) {
	d := newOwnPort(open, e)
	b := &ownBus{s.newBus(d, e, h), d}
	b.inputToo = inputToo
	if err := b.scanUnits(ctx, units); err != nil {
		b.close()
		return nil, s.reportPortLost(ctx, err, e)
	}
	if len(b.seen) == 0 {
		b.close()
		return nil, nil
	}
	return b, nil
}

// reportPortLost reports a lost port as an event and returns err.
func (s *search) reportPortLost(ctx context.Context, err error, e line.Endpoint) error {
	if ctx.Err() == nil && drivers.PortLost(err) {
		s.emit(scan.Event{Trouble: &scan.Trouble{Cause: scan.NoPort, Port: e.String(), Detail: err.Error()}})
	}
	return err
}

// detectMaster listens before anything is sent. If there is traffic but no valid frame, it listens with the
// other settings too. It reports another master if it finds frames.
func (s *search) detectMaster(ctx context.Context, settings []line.Endpoint, open scan.Open,
	h *lineStats) (master bool, err error) {
	listen := func(e line.Endpoint, d time.Duration) error {
		s.nextStep(e.String(), 0)
		port := newOwnPort(open, e)
		defer port.Close()
		return s.reportPortLost(ctx, s.newBus(port, e, h).listen(ctx, d), e)
	}
	s.addSteps(1)
	if err := listen(settings[0], firstListen); err != nil {
		return false, err
	}
	if h.frames == 0 && h.traffic < minFrame {
		return false, nil
	}
	for i := 1; i < len(settings) && h.frames == 0; i++ {
		s.addSteps(1)
		if err := listen(settings[i], nextListen); err != nil {
			return false, err
		}
	}
	if h.frames == 0 {
		return false, nil // noise, or another protocol
	}
	s.emit(scan.Event{Trouble: h.otherMaster()})
	return true, nil
}

// sameSpeedNext moves the settings with this speed to the front: if noise was received, only the parity may
// be wrong.
func sameSpeedNext(settings []line.Endpoint, baud int) {
	slices.SortStableFunc(settings, func(a, b line.Endpoint) int {
		switch {
		case a.Baud == baud && b.Baud != baud:
			return -1
		case a.Baud != baud && b.Baud == baud:
			return 1
		}
		return 0
	})
}

// onLine scans a line that is already open, such as one of a running agent, with its current settings.
func (s *search) onLine(ctx context.Context, e line.Endpoint, l wire) error {
	h := &lineStats{}
	b := s.newBus(l, e, h)
	b.inputToo = !b.stream || len(s.Known) == 0
	likely, rest := unitsOf(s.profiles, b.stream)
	if len(s.Units) > 0 {
		likely, rest = s.Units, nil
	}
	s.addSteps(len(likely))
	err := b.scanUnits(ctx, likely)
	if b.framing && err == nil {
		cause := scan.RTUFrames
		if !b.stream {
			cause = scan.TCPFrames
		}
		s.emit(scan.Event{Trouble: &scan.Trouble{Cause: cause, Port: e.String(),
			Detail: fmt.Sprintf("%d requests", h.asked)}})
		return nil
	}
	if err == nil && (!b.stream || h.gateway > 0) { // a gateway may have a whole line behind it
		s.addSteps(len(rest))
		err = b.scanUnits(ctx, rest)
	}
	return s.conclude(ctx, err, h, e.String())
}

// conclude reports the likely cause if nothing was found.
func (s *search) conclude(ctx context.Context, err error, h *lineStats, port string) error {
	if err != nil || ctx.Err() != nil || s.anyFound() || len(s.Known) > 0 {
		return err
	}
	s.emit(scan.Event{Trouble: h.diagnose(port)})
	return nil
}

// diagnose returns the most likely reason why nothing was found on a line.
func (h *lineStats) diagnose(port string) *scan.Trouble {
	switch {
	case h.gateway > 0:
		return &scan.Trouble{Cause: scan.NobodyThere, Port: port,
			Detail: fmt.Sprintf("the gateway refused %d of %d unit ids", h.gateway, h.asked)}
	case h.frames > 0 || h.busyLine > 0:
		return h.otherMaster()
	case h.noise > 0:
		return &scan.Trouble{Cause: scan.Garbage, Port: h.firstAt[0],
			Detail: fmt.Sprintf("%d bytes received that are not a frame", h.noise)}
	case h.echo:
		return &scan.Trouble{Cause: scan.OnlyEcho, Port: port,
			Detail: fmt.Sprintf("%d requests, each only echoed", h.asked)}
	}
	return &scan.Trouble{Cause: scan.Silence, Port: port, Detail: fmt.Sprintf("%d requests", h.asked)}
}

func (h *lineStats) otherMaster() *scan.Trouble {
	var units []string
	for u, heard := range h.frameUnits {
		if heard {
			units = append(units, fmt.Sprint(u))
		}
	}
	t := &scan.Trouble{Cause: scan.OtherMaster, Port: h.firstAt[1],
		Detail: fmt.Sprintf("%d frames of others, for unit ids %s", h.frames, strings.Join(units, ", "))}
	if h.frames == 0 {
		t.Detail = fmt.Sprintf("the line was never silent, %d times", h.busyLine)
	}
	return t
}
