package clock

import (
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

func TestDisciplineOf(t *testing.T) {
	for _, x := range []struct {
		name             string
		status, max, est int64
		want             bool
	}{
		{"after a start of the machine", unix.STA_UNSYNC, 16_000_000, 16_000_000, false},
		{"put by hand", unix.STA_UNSYNC | unix.STA_NANO, 16_000_000, 16_000_000, false},
		{"ntpd or timesyncd", unix.STA_PLL | unix.STA_NANO, 500, 0, true},
		{"hours later", unix.STA_PLL, 15_999_500, 0, true},
		{"chrony without rtcsync", unix.STA_UNSYNC | unix.STA_NANO, 32_000, 1_200, true},
		{"chrony that lost its servers", unix.STA_UNSYNC, 16_000_000, 16_000_000, false},
		{"nonsense", unix.STA_UNSYNC, -1, -1, false},
	} {
		d := disciplineOf(x.status, x.max, x.est)
		if d.Synced != x.want || d.MaxError != time.Duration(x.max)*time.Microsecond ||
			d.EstError != time.Duration(x.est)*time.Microsecond {
			t.Errorf("%s: %+v", x.name, d)
		}
	}
}

func TestDaemon(t *testing.T) {
	for want, files := range map[string][]string{
		"": {"run/other"}, "timesyncd": {"run/systemd/timesync/synchronized"}, "chrony": {"run/chrony/chronyd.pid"},
	} {
		root := fstest.MapFS{}
		for _, f := range files {
			root[f] = &fstest.MapFile{}
		}
		if got := daemon(root); got != want {
			t.Errorf("%q: got %q", want, got)
		}
	}
}

// What this machine says cannot be known here, only that it says something, and the same when it is asked again.
func TestThisMachine(t *testing.T) {
	a, err := Kernel()
	b, err2 := Kernel()
	if err != nil || err2 != nil || a.Synced != b.Synced || a.MaxError < 0 {
		t.Errorf("%+v %v, %+v %v", a, err, b, err2)
	}
	boot, err := BootID()
	if again, err2 := BootID(); err != nil || err2 != nil || len(boot) != 8 || again != boot {
		t.Errorf("%q %v, %q %v", boot, err, again, err2)
	}
	up, err := Uptime()
	if later, err2 := Uptime(); err != nil || err2 != nil || up <= 0 || later < up {
		t.Errorf("%v %v, %v %v", up, err, later, err2)
	}
}
