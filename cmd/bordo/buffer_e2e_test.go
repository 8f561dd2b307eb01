//go:build e2e

package main_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"bordo/agent"
	"bordo/contract"
	"bordo/contract/schema"
)

// sentAt is the one thing in an export that depends on when it is made.
var sentAt = regexp.MustCompile(`"sent":[0-9]+`)

// exported returns the lines of an export by identity, each checked against the contract's schemas.
func exported(t *testing.T, rules schema.Set, config string, more ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(must(t, append([]string{"buffer", "export", "--config", config}, more...)...)) {
		line = strings.TrimSpace(line)
		id, kind := "", contract.KindHist
		if b, err := contract.DecodeBatch([]byte(line)); err == nil && len(b.Samples) == 1 {
			id = fmt.Sprintf("%s-%d", b.Ep, b.Samples[0].Seq)
		} else {
			e, err := contract.DecodeEvent([]byte(line))
			if err != nil {
				t.Fatalf("neither a batch nor an event: %s", line)
			}
			id, kind = e.ID, contract.KindEvent
		}
		if v := rules.Violation(kind, []byte(line)); v != "" {
			t.Errorf("%s: %s", v, line)
		}
		if out[id] != "" {
			t.Errorf("%s came twice", id)
		}
		out[id] = sentAt.ReplaceAllString(line, `"sent":0`)
	}
	return out
}

// files makes a picture of every file below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(p)
		out[p] = fmt.Sprintf("%v %v %x", fi.Mode(), fi.ModTime(), sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The same records come from the running agent, from the store that it left behind when it was killed, and from the one
// that it closed; and looking at those changes nothing.
func TestBufferRunningAndStopped(t *testing.T) {
	config := simulated(t)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	private := strings.Replace(string(text), "model: came-gard-ptx, unit: 1, every: 1s",
		"model: came-gard-ptx, unit: 1, every: 1s, personal: true", 1)
	if private == string(text) {
		t.Fatalf("no barrier in\n%s", text)
	}
	if err := os.WriteFile(config, []byte(private), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, rules := filepath.Join(filepath.Dir(config), "buffer"), loadSchemas(t)
	if _, errs, code := bordo(t, "buffer", "stat", "--config", config); code != 1 ||
		!strings.Contains(errs, "there is no store in "+dir) {
		t.Errorf("before the first run: exit code %d, %s", code, errs)
	}

	a := runAgent(t, config)
	waitFor(t, config, func(d map[string]agent.DeviceStatus) bool {
		return d["inv-1"].Polls > 4 && d["meter-1"].Polls > 4 && d["barrier-1"].Polls > 8
	})
	running := exported(t, rules, config)
	if len(running) < 10 {
		t.Fatalf("%d records of the running agent", len(running))
	}
	stat := decode[struct {
		Running bool
		Classes []struct {
			Class             string
			Personal, Records int
			Waiting           uint64
		}
	}](t, must(t, "buffer", "stat", "--config", config, "--json"))
	if !stat.Running || len(stat.Classes) != 4 || stat.Classes[2].Class != "reading" ||
		int(stat.Classes[2].Waiting) < len(running) {
		t.Errorf("stat: %+v", stat)
	}
	list := must(t, "buffer", "list", "--config", config, "--newest", "--limit", "3", "--device", "meter-1")
	if strings.Count(list, "\n") != 4 || strings.Count(list, " meter-1 ") != 3 {
		t.Errorf("list\n%s", list)
	}
	if out := must(t, "buffer", "verify", "--config", config, "--lang", "en"); !strings.HasPrefix(out,
		dir+": whole: read ") {
		t.Errorf("verify: %s", out)
	}

	a.Stop(syscall.SIGKILL)
	before := files(t, dir)
	killed := exported(t, rules, config)
	must(t, "buffer", "stat", "--config", config)
	must(t, "buffer", "list", "--config", config)
	must(t, "buffer", "verify", "--config", config)
	if after := files(t, dir); !maps.Equal(before, after) {
		t.Errorf("looking at the killed agent's store changed it\nbefore %v\nafter  %v", before, after)
	}
	b := runAgent(t, config)
	b.Says(t, "msg=running")
	b.Stop(syscall.SIGTERM)
	before = files(t, dir)
	closed := exported(t, rules, config)
	if after := files(t, dir); !maps.Equal(before, after) {
		t.Errorf("looking at the closed store changed it\nbefore %v\nafter  %v", before, after)
	}
	for id, line := range killed {
		if closed[id] != line {
			t.Errorf("%s was\n%s\nand is\n%s", id, line, closed[id])
		}
	}
	same := 0
	for id, line := range closed {
		if strings.Contains(line, "barrier-1") {
			t.Errorf("of the personal device: %s", line)
		}
		if was := running[id]; was == line {
			same++
		} else if was != "" {
			t.Errorf("%s was\n%s\nand is\n%s", id, was, line)
		}
	}
	if same < len(running)/2 || len(closed) < len(killed) { // what was not sealed yet went with the kill
		t.Errorf("%d records running, %d after the kill, %d in the end, %d the same", len(running), len(killed),
			len(closed), same)
	}
}

// Who reads the first line of an export and leaves is no error, and nothing is left behind.
func TestBufferExportToHead(t *testing.T) {
	config := simulated(t)
	a := runAgent(t, config)
	waitFor(t, config, func(d map[string]agent.DeviceStatus) bool { return d["meter-1"].Polls > 2 })
	a.Stop(syscall.SIGTERM)
	temp := t.TempDir()
	cmd := exec.Command("bash", "-c", `set -o pipefail; "$0" buffer export --class interval --month 2026-03 --csv --config "$1" | head -n 1`, filepath.Join(bin, "bordo"), config)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "device,point,start_utc") ||
		strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v, %.300s", err, out)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
