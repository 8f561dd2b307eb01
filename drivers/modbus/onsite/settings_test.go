package onsite_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"bordo/drivers"
	"bordo/drivers/line"
	"bordo/drivers/modbus/onsite"
	"bordo/drivers/modbus/slave"
	"bordo/drivers/scan"
)

// unasked returns what the scan reported as not probed; nil if nothing.
func (s *site) unasked() (u *scan.Unasked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Unasked != nil {
			u = e.Unasked
		}
	}
	return u
}

// twoSpeeds returns a line with a meter and a barrier, each with its factory settings.
func twoSpeeds(t *testing.T) (*site, scan.Open) {
	s, fast := newSite(t), newSite(t)
	s.setting, fast.setting = "baud=9600&parity=none", "baud=38400&parity=even"
	s.units[3] = device(t, "eastron-sdm630", serial("22041234"), grid())
	fast.units[1] = device(t, "came-gard-ptx", slave.Options{}, nil)
	return s, func(ctx context.Context, e line.Endpoint) (drivers.Port, error) {
		if strings.Contains(e.String(), fast.setting) {
			return fast.openPort(ctx, e)
		}
		return s.openPort(ctx, e)
	}
}

// A scan that stops at the first speed reports the speeds it has not tried.
func TestSerialReportsUnprobedSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, open := twoSpeeds(t)
		sc := s.scanner()
		sc.Units = []int{1, 3}
		if err := sc.Serial(t.Context(), ttyTest, open); err != nil {
			t.Error(err)
		}
		s.expect([]string{"baud=9600&parity=none 3 eastron-sdm630? 22041234"})
		u := s.unasked()
		if u == nil || len(u.Partly) != 0 || len(u.Settings) != len(sc.driver.SerialSettings(ttyTest))-1 ||
			!strings.Contains(u.Port, "baud=9600&parity=none") || slices.Contains(u.Settings, u.Port) ||
			!slices.ContainsFunc(u.Settings,
				func(p string) bool { return strings.Contains(p, "baud=38400&parity=even") }) {
			t.Errorf("reported %+v", u)
		}
	})
}

// With AllSpeeds both devices are found, and if all unit ids are listed nothing is left to report.
func TestSerialWithAllSpeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, open := twoSpeeds(t)
		sc := s.scanner()
		sc.Units, sc.AllSpeeds = []int{1, 3}, true
		if err := sc.Serial(t.Context(), ttyTest, open); err != nil {
			t.Error(err)
		}
		var models []string
		s.mu.Lock()
		for _, e := range s.events {
			if e.Found != nil {
				models = append(models, e.Found.Model)
				for _, c := range e.Found.Candidates {
					models = append(models, "?"+c.Model)
				}
			}
		}
		s.mu.Unlock()
		if len(models) < 2 || models[0] != "eastron-sdm630" ||
			models[1] != "came-gard-ptx" && models[2] != "?came-gard-ptx" {
			t.Errorf("found %q", models)
		}
		if u := s.unasked(); u != nil {
			t.Errorf("reported %+v", u)
		}
	})
}

// Without a list of unit ids, all speeds are tried with the likely ids only, and that is reported.
func TestSerialWithAllSpeedsProbesLikelyUnits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, open := twoSpeeds(t)
		sc := s.scanner()
		sc.AllSpeeds = true
		if err := sc.Serial(t.Context(), ttyTest, open); err != nil {
			t.Error(err)
		}
		likely, _ := onsite.UnitsOf(profiles(), false)
		slices.Sort(likely)
		u := s.unasked()
		if u == nil || len(u.Settings) != 0 || len(u.Partly) == 0 || !slices.Equal(u.Units, likely) {
			t.Fatalf("reported %+v", u)
		}
		if slices.ContainsFunc(u.Partly, func(p string) bool { return strings.Contains(p, "baud=38400&parity=even") }) {
			t.Errorf("all unit ids were probed at the speed of the barrier: %q", u.Partly)
		}
	})
}

// A device that nothing identifies has candidates for its kind of line, the most likely first.
func TestCandidates(t *testing.T) {
	anonymous := slave.AnswererFunc(func(pdu []byte) []byte { // has 64 holding registers and nothing else
		if pdu[0] != 3 || int(pdu[1])<<8+int(pdu[2])+int(pdu[4]) > 64 {
			return []byte{pdu[0] | 0x80, 2}
		}
		return append([]byte{3, 2 * pdu[4]}, make([]byte, 2*int(pdu[4]))...)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.setting = "baud=38400&parity=even"
		s.units[1] = anonymous
		sc := s.scanner()
		sc.Units = []int{1}
		if err := sc.Serial(t.Context(), ttyTest, s.openPort); err != nil {
			t.Error(err)
		}
		s.hosts["192.168.1.9:502"] = map[byte]slave.Answerer{1: anonymous}
		if err := sc.TCP(t.Context(), scan.Target{Hosts: []string{"192.168.1.9"}, Port: 502}, s.openPort); err != nil {
			t.Error(err)
		}
		var found []*scan.Found
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Found != nil {
				found = append(found, e.Found)
			}
		}
		if len(found) != 2 || found[0].Model != "" || len(found[0].Candidates) == 0 ||
			found[0].Candidates[0].Model != "came-gard-ptx" {
			t.Fatalf("found %+v", found)
		}
		for _, c := range found[1].Candidates {
			if c.Model == "came-gard-ptx" || c.Model == "phoenix-quint4-ups" {
				t.Errorf("%s has no TCP link", c.Model)
			}
		}
		if n := len(found[1].Candidates); n == 0 || n > 5 {
			t.Errorf("%d candidates over TCP", n)
		}
	})
}
