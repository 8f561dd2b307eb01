// Package loopdisk creates file systems on loop devices for tests and benchmarks that measure what is written to the
// device. An SD card wears by the writes that reach it, not by those that a program issues. The package needs root,
// ext4 and loop devices, and fails the test where they are missing.
package loopdisk

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is an ext4 file system on a loop device.
type Disk struct {
	Dir    string // mount point
	Device string // /dev/loopN; empty for an ordinary directory, whose writes cannot be counted
}

// New creates and mounts a disk of size bytes and removes it when the test ends.
func New(t testing.TB, size int64) Disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a loop device needs root")
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	// Lazy initialisation would make the kernel write to the device later, which would be counted.
	Command(t, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	d := Disk{Dir: filepath.Join(t.TempDir(), "mnt"), Device: Command(t, "losetup", "--find", "--show", image)}
	t.Cleanup(func() { Command(t, "losetup", "--detach", d.Device) })
	if err := os.Mkdir(d.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	Command(t, "mount", d.Device, d.Dir)
	t.Cleanup(func() { Command(t, "umount", d.Dir) })
	return d
}

// Forget unmounts the disk and mounts it again, which removes it from the page cache.
func (d Disk) Forget(t testing.TB) {
	t.Helper()
	Command(t, "umount", d.Dir)
	Command(t, "mount", d.Device, d.Dir)
}

// Command runs a program and returns its output, trimmed. It fails the test if the program fails.
func Command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Given counts the bytes and flushes that the device has received since it was created.
type Given struct{ Bytes, Flushes float64 }

// Given syncs the page cache to the device and returns the counts. Without a device they are zero.
func (d Disk) Given(t testing.TB) Given {
	t.Helper()
	if d.Device == "" {
		return Given{}
	}
	dir, err := os.Open(d.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(d.Device), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	// Documentation/block/stat.rst of Linux: the 7th field counts sectors of 512 bytes written, the 16th flushes.
	f := strings.Fields(string(text))
	if len(f) < 16 {
		t.Fatalf("kernel does not count flushes: %q", text)
	}
	return Given{Number(t, f[6]) * 512, Number(t, f[15])}
}

// Since returns the difference between g and the earlier count o.
func (g Given) Since(o Given) Given { return Given{g.Bytes - o.Bytes, g.Flushes - o.Flushes} }

// Number parses a number printed by the kernel and fails the test if it cannot.
func Number(t testing.TB, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Taken returns the disk usage of the files below dir in bytes, except for files with the names in without.
func Taken(t testing.TB, dir string, without ...string) (bytes float64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // files vanish while they are counted
		}
		for _, name := range without {
			if e.Name() == name {
				return nil
			}
		}
		fi, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // files vanish while they are counted
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			bytes += float64(st.Blocks * 512)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// Anonymous returns the anonymous resident memory of this process in bytes: the memory that a small box must really
// provide. Pages of mapped files are not included, because the kernel can reclaim them.
func Anonymous(t testing.TB) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			return Number(t, f[1]) * 1024
		}
	}
	t.Fatal("kernel does not report RssAnon")
	return 0
}
