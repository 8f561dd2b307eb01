package sim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bordo/drivers/catalogue"
)

// takes lists the keys that a kind of fault uses besides its time table. Any other key is refused, because it would
// have no effect.
func (k FaultKind) takes() []string {
	keys := map[FaultKind][]string{
		Late: {"by"}, Exception: {"code"}, Limit: {"code"}, Stuck: {"point"}, Wire: {"point"},
		AckEaten: {"chance"}, AckLate: {"chance", "by"}, Slow: {"by"},
		LinkLate: {"chance", "by"}, MidPacket: {"chance"}, PubackEaten: {"chance"}, Corrupt: {"chance"},
		Oversize: {"code"}, OversizeAcked: {"code"}, TopicClosed: {"point"}, SubscribeClosed: {"point"},
		Quota: {"code"}, LinkNarrow: {"code"},
		ClockJump: {"by"},
	}[k]
	switch where[k] {
	case "exchange":
		return append([]string{"device", "chance"}, keys...)
	case "device":
		return append([]string{"device"}, keys...)
	}
	return keys
}

// check returns what is wrong with a fault at a place, independent of the devices there.
func (f Fault) check(place string) error {
	switch kinds := FaultKinds(place); {
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("fault must be one of %v here (got %q)%s", kinds, f.Kind, f.Kind.belongs())
	case !between(f.Chance, 0, 1):
		return fmt.Errorf("chance must be 0 to 1 (got %v)", f.Chance)
	case !between(f.Odds, 0, 1):
		return fmt.Errorf("odds must be 0 to 1 (got %v)", f.Odds)
	case f.At < 0 || f.For < 0 || f.Every < 0:
		return fmt.Errorf("at, for and every must not be negative")
	case f.Every > 0 && (f.For <= 0 || f.For > f.Every):
		return fmt.Errorf("for must be more than 0 and at most every (got %s of %s)", f.For, f.Every)
	case f.Odds > 0 && f.Every == 0:
		return fmt.Errorf("odds needs every: the windows that are drawn")
	case f.Code < 0 || f.Code > 255:
		return fmt.Errorf("code must be 1 to 255 (got %d)", f.Code)
	case f.Kind == Limit && f.Code > 100:
		return fmt.Errorf("code of limit must be 0 to 100 per cent (got %d)", f.Code)
	case (f.Kind == Oversize || f.Kind == OversizeAcked) && f.Code == 0:
		return fmt.Errorf("%s needs code: the KiB of the largest packet that passes", f.Kind)
	case f.Kind == Quota && f.Code == 0:
		return fmt.Errorf("quota needs code: the publications of a minute that pass")
	case f.Kind == TopicClosed && f.Point == "":
		return fmt.Errorf("topic-closed needs point: the kind of topic, such as event")
	case f.Kind == ClockJump && f.By == 0:
		return fmt.Errorf("clock-jump needs by: how far the clock jumps")
	case f.Kind != ClockJump && f.By < 0:
		return fmt.Errorf("by must not be negative (got %s)", f.By)
	}
	return f.checkKeys()
}

// checkKeys refuses keys that do nothing for this kind.
func (f Fault) checkKeys() error {
	takes := f.Kind.takes()
	for _, k := range []struct {
		name string
		set  bool
	}{{"device", f.Device != ""}, {"chance", f.Chance != 0}, {"by", f.By != 0}, {"code", f.Code != 0},
		{"point", f.Point != ""}} {
		if k.set && !slices.Contains(takes, k.name) {
			return fmt.Errorf("%s has no %s: beside at, for, every and odds it takes %s", f.Kind, k.name,
				cmp.Or(strings.Join(takes, ", "), "nothing"))
		}
	}
	return nil
}

// belongs describes where a kind of fault is possible, for an error at another place.
func (k FaultKind) belongs() string {
	switch place := where[k]; place {
	case "":
		return ""
	case "exchange", "device":
		return fmt.Sprintf(": %s happens on a line", k)
	default:
		return fmt.Sprintf(": %s happens to place %s", k, place)
	}
}

// between is false for NaN.
func between(x, low, high float64) bool { return x >= low && x <= high }

// suffers lists the faults that a device can have, including those of single exchanges.
func suffers(d device) (kinds []FaultKind) {
	for kind, place := range where {
		if (place == "exchange" || place == "device") && d.canHave(kind) {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func aKind(k catalogue.DeviceKind) string {
	switch k {
	case catalogue.Inverter, catalogue.IO:
		return map[catalogue.DeviceKind]string{catalogue.Inverter: "an inverter", catalogue.IO: "an I/O module"}[k]
	case catalogue.UPS:
		return "a UPS"
	}
	return "a " + string(k)
}

// checkMains says why a cut of the mains would do nothing.
func (s *Site) checkMains(f Fault) error {
	if err := f.check("mains"); err != nil {
		return err
	}
	for _, d := range s.devices {
		h := d.about()
		wired := slices.ContainsFunc(h.spec.IO, func(c Channel) bool { return c.Is == "mains" })
		if !h.recorded && (h.kind != catalogue.IO || wired) {
			return nil
		}
	}
	return fmt.Errorf("no device of this site notices the mains")
}

// checkMoving says that nothing at a site moves with sun and time.
func (s *Site) checkMoving() error {
	for _, d := range s.devices {
		if !d.about().recorded {
			return nil
		}
	}
	return errors.New("the devices of this site are recordings: neither sun nor time changes them")
}

// checkFault returns why a fault would have no effect on a line. The caller holds the site's lock, or is the only user
// of the site so far.
func (s *Site) checkFault(b *bus, f Fault) error {
	if err := f.check("line"); err != nil {
		return err
	}
	if where[f.Kind] == "line" {
		return nil
	}
	devices := slices.Clone(b.protocol.devices())
	if f.Device != "" {
		d := s.devices[f.Device]
		switch {
		case d == nil:
			return fmt.Errorf("no device %q: must be %s", f.Device, oneOf(names(devices)))
		case d.about().bus != b:
			return fmt.Errorf("%s is on line %s: on line %s it must be %s", f.Device, d.about().bus.id, b.id,
				oneOf(names(devices)))
		case !d.canHave(f.Kind):
			return fmt.Errorf("%s: %s cannot happen to it; what can: %s%s", d.about().article(), f.Kind,
				joinKinds(suffers(d)), s.whoCan(f.Kind))
		}
		devices = []device{d}
	}
	devices = slices.DeleteFunc(devices, func(d device) bool { return !d.canHave(f.Kind) })
	if len(devices) == 0 {
		return fmt.Errorf("%s cannot happen to any device on line %s%s", f.Kind, b.id, s.whoCan(f.Kind))
	}
	return checkPoint(devices, f)
}

// whoCan names the devices of the site on which a fault is possible.
func (s *Site) whoCan(kind FaultKind) string {
	var can []string
	for _, b := range s.buses {
		for _, d := range b.protocol.devices() {
			if d.canHave(kind) {
				can = append(can, fmt.Sprintf("%s (line %s)", d.about().spec.ID, b.id))
			}
		}
	}
	if len(can) == 0 {
		return fmt.Sprintf("; no device of this site can have %s", kind)
	}
	return fmt.Sprintf("; %s is for %s", kind, oneOf(can))
}

// checkPoint says that none of the devices has the point of a fault, or the channel.
func checkPoint(devices []device, f Fault) error {
	if f.Point == "" {
		return nil
	}
	var all []string
	for _, d := range devices {
		points := d.moving()
		if f.Kind == Wire {
			points = d.about().channels()
		}
		if slices.Contains(points, f.Point) {
			return nil
		}
		all = append(all, points...)
	}
	if len(all) == 0 {
		return fmt.Errorf("no point of %s can be stuck alone: leave point out", oneOf(names(devices)))
	}
	slices.Sort(all)
	return fmt.Errorf("%s has no point %q: must be %s", oneOf(names(devices)), f.Point, oneOf(slices.Compact(all)))
}

// names lists the ids of devices.
func names(devices []device) (ids []string) {
	for _, d := range devices {
		ids = append(ids, d.about().spec.ID)
	}
	return ids
}

// oneOf lists words for a sentence: "a, b or c".
func oneOf(words []string) string {
	if len(words) < 2 {
		return cmp.Or(strings.Join(words, ""), "none")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func joinKinds(kinds []FaultKind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	return strings.Join(words, ", ")
}
