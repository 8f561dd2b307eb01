// Package loopdisk makes file systems on block devices of their own, for tests and benchmarks that have to see what the
// device is given: an SD card wears with that, not with what a program writes. It needs root, ext4 and loop devices, and
// fails the test where they are missing.
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
	Dir    string // where it is mounted
	Device string // /dev/loopN; empty: an ordinary directory, of which nothing can be counted
}

// New makes a disk of size bytes and removes it when the test ends.
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
	// Without lazy initialisation the kernel writes nothing later on its own account.
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

// Forget unmounts the disk and mounts it again, so that nothing of it is in the page cache.
func (d Disk) Forget(t testing.TB) {
	t.Helper()
	Command(t, "umount", d.Dir)
	Command(t, "mount", d.Device, d.Dir)
}

// Command runs a program to its end and returns what it printed.
func Command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Given is what the device was given since it exists.
type Given struct{ Bytes, Flushes float64 }

// Given brings what is in the page cache to the device and counts; without a device it counts nothing.
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
		t.Fatalf("the kernel does not count flushes: %q", text)
	}
	return Given{Number(t, f[6]) * 512, Number(t, f[15])}
}

// Since is what came after o.
func (g Given) Since(o Given) Given { return Given{g.Bytes - o.Bytes, g.Flushes - o.Flushes} }

// Number reads a number of the kernel's.
func Number(t testing.TB, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Taken is how many bytes the files below dir take on the disk, without those that are named.
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
			return nil //nolint:nilerr // the same
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

// Anonymous is the memory of this process that no file stands behind, in bytes: what a small box must really have. Pages of
// mapped files are not among it, the kernel takes those back when it needs them.
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
	t.Fatal("the kernel does not tell RssAnon")
	return 0
}
