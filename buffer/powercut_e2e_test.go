//go:build e2e

package buffer

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run executes a command and returns its output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// mountImage mounts an ext4 image on a directory. It needs root.
func mountImage(t *testing.T, image, at string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("mounting a loop device needs root: run the tests with the tag e2e as root")
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "mount", "-o", "loop", image, at)
}

// makeImage creates an ext4 image of the given size.
func makeImage(t *testing.T, size int64) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", "-F", "-m", "0", image)
	return image
}

// TestPowerCut takes images of a block device while a writer is using it. An image contains what the device holds at
// that moment and nothing that is only in the page cache. Each image is mounted, which replays the journal, and the
// store is opened: no record reported as sealed before the cut may be missing.
func TestPowerCut(t *testing.T) {
	image := makeImage(t, 96<<20)
	mnt := filepath.Join(t.TempDir(), "mnt")
	mountImage(t, image, mnt)
	defer func() { run(t, "umount", mnt) }()
	w := newWriterReports()
	cmd, begun, done := startWriter(t, filepath.Join(mnt, "store"), w)
	defer func() {
		cmd.Process.Kill() //nolint:errcheck // it may have exited already
		<-done
		_ = cmd.Wait() //nolint:errcheck // it was killed
	}()
	<-begun
	rnd := rand.New(rand.NewPCG(2, 2))
	n := cycles(t, "BORDO_POWER_CUTS", 30)
	total := 0
	for i := range n {
		time.Sleep(time.Duration(50+rnd.IntN(200)) * time.Millisecond)
		need := w.snapshot()
		// The writer is stopped while the image is read, so that the image is of one moment.
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		awaitStop(t, cmd.Process.Pid)
		cut := filepath.Join(t.TempDir(), "cut")
		copyStill(t, image, cut)
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(t.TempDir(), "at")
		mountImage(t, cut, at)
		total += len(need)
		func() {
			defer run(t, "umount", at)
			w.mu.Lock()
			all := &writerReports{all: map[ID]string{}, sealed: map[ID]string{}}
			for id, s := range w.all {
				all.all[id] = s
			}
			settled := map[ID]bool{}
			for id := range w.all {
				if _, ok := w.sealed[id]; !ok {
					settled[id] = true // settled between snapshot and cut
				}
			}
			w.mu.Unlock()
			for id := range need {
				if settled[id] {
					delete(need, id)
				}
			}
			verifyReports(t, filepath.Join(at, "store"), all, need, true)
		}()
		if err := os.Remove(cut); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("image %d of %d", i+1, n)
		}
	}
	t.Logf("%d images opened, %d sealed records required in all, none lost", n, total)
}

// awaitStop waits until every thread of a process has stopped after SIGSTOP.
func awaitStop(t *testing.T, pid int) {
	t.Helper()
	running := func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("no threads of %d: %v", pid, err)
		}
		return slices.ContainsFunc(threads, func(thread string) bool {
			b, err := os.ReadFile(thread)
			return err == nil && !bytes.Contains(b, []byte(") T ")) // an exited thread counts as stopped
		})
	}
	for end := time.Now().Add(time.Minute); running(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the writer does not stop")
		}
	}
}

// copyStill copies a file and repeats this until the file did not change during the copy: kernel threads of the file
// system in it cannot be stopped.
func copyStill(t *testing.T, from, to string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		before, err := os.Stat(from)
		if err != nil {
			t.Fatal(err)
		}
		copyFile(t, from, to)
		after, err := os.Stat(from)
		if err != nil {
			t.Fatal(err)
		}
		if after.ModTime().Equal(before.ModTime()) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s keeps changing", from)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFull fills a real file system. The store stops writing before Badger would end the process, reports the
// fault, keeps delivering from memory, and continues when there is space again.
func TestDiskFull(t *testing.T) {
	image := makeImage(t, 64<<20)
	mnt := filepath.Join(t.TempDir(), "mnt")
	mountImage(t, image, mnt)
	defer func() { run(t, "umount", mnt) }()
	dir := filepath.Join(mnt, "store")
	o := Options{MaxSize: 64 << 20, Reserve: 10 << 20, Sync: 20 * time.Millisecond, Memory: 1 << 20}
	s := open(t, dir, o)
	s.ballast()
	if fi, err := os.Stat(filepath.Join(dir, ballastName)); err != nil || allocated(fi) < 4<<20 {
		t.Fatalf("no ballast: %v", err)
	}
	rnd := rand.New(rand.NewPCG(3, 3))
	payload := make([]byte, 20_000)
	put := func() ID {
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		id, err := s.Append(Reading, 1, 2, payload)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for i := 0; s.Stats().Fault == ""; i++ {
		if put(); i > 10_000 {
			t.Fatal("the disk does not fill")
		}
	}
	// Another program takes the remaining space.
	if err := exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(mnt, "other"), "bs=64k").Run(); err == nil {
		t.Fatal("the rest of the disk could not be filled")
	}
	for range 100 {
		put()
	}
	if _, err := s.Append(Event, 0, 0, []byte("door open")); err == nil {
		t.Fatal("an event was sealed on a full disk")
	}
	if got := s.Fresh(1); len(got) != 1 || string(got[0].Payload) != "door open" {
		t.Fatalf("live lane: %v", got)
	}
	s.Close() // cannot seal the records in memory, but must return
	s = open(t, dir, o)
	if s.Stats().Fault == "" {
		t.Fatal("opened on a full disk without a fault")
	}
	if err := os.Remove(filepath.Join(mnt, "other")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Logf("close: %v", err) // a gap covers the records that were in memory
	}
	s = open(t, dir, Options{Reserve: 2 << 20, Sync: 20 * time.Millisecond})
	n := 0
	for recs := range leaseAll(t, s, Reading, 500) {
		n += len(recs)
		if err := s.Settle(idsOf(recs)); err != nil {
			t.Fatal(err)
		}
	}
	if n < 100 || s.Stats().Fault != "" {
		t.Fatalf("%d readings after the disk was full, fault %q", n, s.Stats().Fault)
	}
	t.Logf("%d readings were on the full disk, gaps %d", n, len(s.Gaps()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
