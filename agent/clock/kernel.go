package clock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Discipline is the kernel's description of its clock (adjtimex(2)).
type Discipline struct {
	Synced   bool          // something keeps the clock right
	MaxError time.Duration // the maximum error; 16 s and more means unknown
	EstError time.Duration // the estimated error
}

// phaseLimit is the upper end of the kernel's maximum error. The error begins there, returns there when the clock is
// set by hand, and grows towards it by 500 µs a second (Linux, kernel/time/ntp.c, NTP_PHASE_LIMIT).
const phaseLimit = 16 * time.Second

// Kernel asks the kernel. It changes nothing and needs no privilege.
func Kernel() (Discipline, error) {
	var t unix.Timex // modes 0: only reads
	if _, err := unix.Adjtimex(&t); err != nil {
		return Discipline{}, fmt.Errorf("ask kernel for its clock: %w", err)
	}
	return disciplineOf(int64(t.Status), int64(t.Maxerror), int64(t.Esterror)), nil
}

// disciplineOf interprets the answer of the kernel, with errors in µs. Most daemons clear STA_UNSYNC. Chrony clears it
// only if it is also told to set the hardware clock (rtcsync), but it always reports the remaining error.
func disciplineOf(status, maxError, estError int64) Discipline {
	d := Discipline{MaxError: time.Duration(maxError) * time.Microsecond,
		EstError: time.Duration(estError) * time.Microsecond}
	d.Synced = status&unix.STA_UNSYNC == 0 || maxError >= 0 && d.MaxError < phaseLimit
	return d
}

// Daemon names the program that sets the clock, for people: timesyncd if it has done so since this start of the
// machine, chrony if it runs, "" if neither is seen. Both report to the kernel, which knows better whether the clock is
// right.
func Daemon() string { return daemon(os.DirFS("/")) }

// daemon finds out which program sets the clock. systemd-timesyncd touches a file whenever it does
// (systemd-timesyncd.service(8)). chronyd has a pid file while it runs, in Debian's location.
func daemon(root fs.FS) string {
	for _, d := range []struct{ file, name string }{
		{"run/systemd/timesync/synchronized", "timesyncd"},
		{"run/chrony/chronyd.pid", "chrony"},
	} {
		if _, err := fs.Stat(root, d.file); err == nil {
			return d.name
		}
	}
	return ""
}

// BootID names this start of the machine by the first part of the kernel's random id.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	id, _, _ := strings.Cut(strings.TrimSpace(string(b)), "-")
	if id == "" {
		return "", errors.New("read boot id: it is empty")
	}
	return id, nil
}

// Uptime is the time since this start of the machine, sleep included.
func Uptime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("read uptime: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
