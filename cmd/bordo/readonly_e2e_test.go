//go:build e2e

package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bordo/agent"
	"bordo/contract"
)

// openDir is a directory that every user can get into.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bordo-open-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // a temporary directory
	for _, d := range []string{dir, bin} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// card mounts a file system of its own in dir until the test ends, and returns how to make it read-only and back.
func card(t *testing.T, dir string) (readOnly func(on bool)) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64m,mode=755"); err != nil {
		t.Fatalf("mount (as root): %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) }) //nolint:errcheck // the test is over
	return func(on bool) {
		t.Helper()
		flags := uintptr(unix.MS_REMOUNT)
		if on {
			flags |= unix.MS_RDONLY
		}
		if err := unix.Mount("none", dir, "", flags, ""); err != nil {
			t.Fatalf("remount %s: %v", dir, err)
		}
	}
}

// localNode writes a configuration with its store in dir and its socket beside it.
func localNode(t *testing.T, dir, broker string) (path string) {
	t.Helper()
	path = filepath.Join(filepath.Dir(dir), "bordo.yaml")
	if err := errors.Join(os.Mkdir(dir+"-run", 0o777), os.Chmod(dir+"-run", 0o777)); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`version: 1
tenant: cremasco
node: quintano
clock: {trust: system}
control: {socket: %[1]s-run/b.sock}
mqtt: {url: "mqtt://%[2]s", reconnect_max: 500ms}
buffer: {dir: %[1]s/store/buffer, max_size: 16MiB, sync: 1s}
lines:
  - {id: bus, port: serial:///dev/bordo-is-not-here, devices: [{id: meter-1, model: eastron-sdm630, unit: 1}]}
`, dir, broker)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// asks runs bordo status until ok says so.
func asks(t *testing.T, path, what string, ok func(agent.Status) bool) (s agent.Status) {
	t.Helper()
	over := time.Now().Add(patience)
	for time.Now().Before(over) {
		if out, _, code := bordo(t, "status", "--config", path, "--json"); code == 0 {
			if s = decode[agent.Status](t, out); ok(s) {
				return s
			}
		}
		time.Sleep(300 * time.Millisecond)
	}
	t.Fatalf("never: %s: %+v", what, s)
	return s
}

// detailOf returns what a status says of a condition, "" when it is not open.
func detailOf(s agent.Status, code string) string {
	i := slices.IndexFunc(s.Health, func(h contract.Health) bool { return h.Code == code })
	if i < 0 {
		return ""
	}
	return s.Health[i].Detail
}

// A card that has become read-only does not keep the agent from starting: it runs from memory, a second one is kept out all the
// same, the tools say what is wrong, and the store opens when the card can be written again.
func TestRunOnAReadOnlyCard(t *testing.T) {
	t.Parallel() // it mostly waits
	broker := newMosquitto(t)
	broker.Up(t)
	sub := subscribe(t, broker)
	dir := filepath.Join(openDir(t), "card")
	readOnly := card(t, dir)
	path := localNode(t, dir, fmt.Sprintf("127.0.0.1:%d", broker.Port))
	first := start(t, filepath.Join(bin, "bordo"), "run", "--config", path)
	first.Says(t, "broker connected")
	first.Stop(syscall.SIGTERM)

	readOnly(true)
	if _, errs, code := bordo(t, "check", "--config", path); code != 0 || !strings.Contains(errs, "read-only") {
		t.Errorf("check: %d, %s", code, errs)
	}
	p := start(t, filepath.Join(bin, "bordo"), "run", "--config", path)
	st := asks(t, path, "run from memory", func(s agent.Status) bool {
		return s.Broker.Connected && detailOf(s, contract.StoreReadOnly) != ""
	})
	if !st.Store.FromMemory {
		t.Errorf("store %+v", st.Store)
	}
	for _, what := range []string{"stat", "list"} {
		if out, errs, code := bordo(t, "buffer", what, "--config", path); code != 0 {
			t.Errorf("buffer %s: %d, %s%s", what, code, out, errs)
		}
	}
	if _, errs, code := bordo(t, "buffer", "verify", "--config", path); code != 1 ||
		!strings.Contains(errs, "runs from memory") {
		t.Errorf("buffer verify: %d, %s", code, errs)
	}
	if _, errs, code := bordo(t, "run", "--config", path); code != 1 || !strings.Contains(errs, "another bordo runs") {
		t.Errorf("a second agent: %d, %s", code, errs)
	}
	text, _, _ := bordo(t, "status", "--config", path, "--lang", "it")
	if !strings.Contains(text, "SOLO IN MEMORIA") {
		t.Errorf("status does not say it:\n%s", text)
	}
	readOnly(false)
	after := asks(t, path, "an open store", func(s agent.Status) bool {
		return !s.Store.FromMemory && detailOf(s, contract.StoreReadOnly) == "" && len(s.Store.Backlog) == 0
	})
	if after.Store.Epoch == st.Store.Epoch {
		t.Errorf("epoch %s goes on", after.Store.Epoch)
	}
	p.Stop(syscall.SIGTERM)
	var epochs []string
	sub.until(t, "the opening of the third epoch", func() bool {
		epochs = nil
		for _, e := range sub.events {
			if e.Type == contract.StoreOpened {
				epochs = append(epochs, e.Ep)
			}
		}
		return slices.Contains(epochs, after.Store.Epoch)
	})
	if len(epochs) != 3 || !slices.IsSorted(epochs) || epochs[1] != st.Store.Epoch {
		t.Errorf("epochs %v", epochs)
	}
	sub.sane(t)
}

// What root's run leaves behind cannot be used by the service's user: the agent runs from memory, names owner and cure, and
// opens the store once that was done. Root is warned.
func TestRunAfterRootDid(t *testing.T) {
	t.Parallel() // it mostly waits
	broker := newMosquitto(t)
	broker.Up(t)
	dir := filepath.Join(openDir(t), "home")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, 65534, 65534), os.Mkdir(dir+"/store", 0o755),
		os.Chown(dir+"/store", 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	path := localNode(t, dir, fmt.Sprintf("127.0.0.1:%d", broker.Port))
	root := start(t, filepath.Join(bin, "bordo"), "run", "--config", path)
	asks(t, path, "warn root", func(s agent.Status) bool { return detailOf(s, contract.RunsAsRoot) != "" })
	root.Stop(syscall.SIGTERM)
	cure := "chown -R nobody: " + dir + "/store/buffer"
	if _, errs, code := bordo(t, "check", "--config", path); code != 0 || !strings.Contains(errs, cure) {
		t.Errorf("check as root: %d, %s", code, errs)
	}
	p := start(t, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", filepath.Join(bin, "bordo"),
		"run", "--config", path)
	st := asks(t, path, "run from memory", func(s agent.Status) bool {
		return s.Broker.Connected && detailOf(s, contract.StoreDenied) != ""
	})
	if d := detailOf(st, contract.StoreDenied); !strings.Contains(d, "belongs to root") || !strings.Contains(d, cure) {
		t.Errorf("detail: %s", d)
	}
	// Only some of the files being root's is the same: nothing of them is taken for damaged.
	if err := errors.Join(os.Chown(dir+"/store/buffer", 65534, 65534), os.Chown(dir+"/store/buffer/lock", 65534, 65534),
		os.Chown(dir+"/store/buffer/db", 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(p, 65534, 65534))
	}); err != nil {
		t.Fatal(err)
	}
	asks(t, path, "an open store", func(s agent.Status) bool {
		return !s.Store.FromMemory &&
			detailOf(s, contract.StoreDenied) == ""
	})
	if list, err := filepath.Glob(dir + "/store/buffer/damaged-*"); err != nil || len(list) > 0 {
		t.Errorf("set aside: %v, %v", list, err)
	}
	p.Stop(syscall.SIGTERM)
}
