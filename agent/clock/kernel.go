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

// Discipline is what the kernel says of its clock (adjtimex(2)).
type Discipline struct {
	Synced   bool          // something keeps the clock right
	MaxError time.Duration // the largest error that it can have; 16 s and more means that nobody knows
	EstError time.Duration // what it probably has
}

// phaseLimit is where the kernel's maximum error ends: it begins there, goes back there when the clock is put by hand, and
// grows towards it by 500 µs a second (Linux, kernel/time/ntp.c, NTP_PHASE_LIMIT).
const phaseLimit = 16 * time.Second

// Kernel asks the kernel. It changes nothing and needs no privilege.
func Kernel() (Discipline, error) {
	var t unix.Timex // modes 0: only reads
	if _, err := unix.Adjtimex(&t); err != nil {
		return Discipline{}, fmt.Errorf("ask kernel for its clock: %w", err)
	}
	return disciplineOf(int64(t.Status), int64(t.Maxerror), int64(t.Esterror)), nil
}

// disciplineOf reads the answer; the errors are in µs. STA_UNSYNC is what most daemons clear. Chrony clears it only if it is
// also told to set the hardware clock (rtcsync), but it always says what error is left.
func disciplineOf(status, maxError, estError int64) Discipline {
	d := Discipline{MaxError: time.Duration(maxError) * time.Microsecond, EstError: time.Duration(estError) * time.Microsecond}
	d.Synced = status&unix.STA_UNSYNC == 0 || maxError >= 0 && d.MaxError < phaseLimit
	return d
}

// Daemon names the program that sets the clock, for people: timesyncd if it has done so since this start of the machine,
// chrony if it runs, "" if neither is seen. Whether the clock is right the kernel knows better: both tell it.
func Daemon() string { return daemon(os.DirFS("/")) }

// daemon finds out who sets the clock. systemd-timesyncd touches a file whenever it does (systemd-timesyncd.service(8));
// chronyd has a pid file as long as it runs, where Debian puts it.
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
