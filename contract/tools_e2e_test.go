//go:build e2e

package contract

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bordo/contract/foreign"
)

// TestJavaScript: what tools of others say of the contract, and what the examples in JavaScript do with it. The packages are
// fetched once for all of it.
func TestJavaScript(t *testing.T) {
	dir := nodeModules(t)
	node := func(args ...string) *exec.Cmd {
		cmd := exec.Command("node", args...)
		cmd.Dir = dir
		return cmd
	}
	t.Run("AsyncAPI", func(t *testing.T) {
		checkAsyncAPI(t, foreign.Run(t, "", node("asyncapi.mjs", absolute(t, "asyncapi.yaml"))))
	})
	t.Run("AsyncAPI with a fault", func(t *testing.T) {
		// The validator is one that can say no: the same document without the version of the contract.
		bad := filepath.Join(t.TempDir(), "asyncapi.yaml")
		copyFile(t, "asyncapi.yaml", bad)
		foreign.Run(t, "", exec.Command("sed", "-i", "/^  version: /d; s#'./schema/#'"+absolute(t, "schema")+"/#", bad))
		if out := foreign.Run(t, "", node("asyncapi.mjs", bad)); !strings.Contains(out, `"severity":0`) {
			t.Errorf("nothing is wrong with %s", out)
		}
	})
	t.Run("Ajv", func(t *testing.T) {
		var says map[string]string
		out := foreign.Run(t, "", node("ajv.mjs", absolute(t, "schema"), absolute(t, "testdata/v1")))
		if err := json.Unmarshal([]byte(out), &says); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob("testdata/v1/*")
		if err != nil || len(says) != len(files) {
			t.Errorf("%d goldens of %d: %v", len(says), len(files), err)
		}
		for name, fault := range says {
			if fault != "" {
				t.Errorf("%s: %s", name, fault)
			}
		}
	})
	t.Run("Node-RED", func(t *testing.T) {
		out := foreign.Run(t, "", node("nodered.mjs", absolute(t, "examples/node-red.json"),
			absolute(t, "testdata/v1/batch-states.json")))
		for _, want := range []string{
			`{"topic":"quintano/barrier-1/state","payload":"opening","timestamp":86400000,"quality":192,"id":"quintano/00017q2m-9007199254740991/state"}`,
			`{"topic":"quintano/barrier-1/position","payload":-0.5,"timestamp":86400000,"quality":64,`,
			`"payload":false`,
		} {
			if !strings.Contains(out, want) {
				t.Errorf("no %s in %s", want, out)
			}
		}
	})
	t.Run("live view", func(t *testing.T) { checkLive(t, node) })
}

// checkAsyncAPI: the public parser finds nothing wrong, and the document has the topics and qualities of service of the code.
func checkAsyncAPI(t *testing.T, out string) {
	var doc struct {
		Said []struct {
			Severity            int
			Code, Path, Message string
		}
		Channels []struct {
			ID, Address string
			Operations  []struct {
				Action string
				QoS    int
				Retain bool
			}
			Keys []string
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	for _, s := range doc.Said {
		if s.Severity < 2 { // 2 says that there is a newer AsyncAPI than 3.0
			t.Errorf("%s at %s: %s", s.Code, s.Path, s.Message)
		}
	}
	const prefix = "{root}/v1/{tenant}/{node}/"
	retained := []string{KindStatus, KindMeta}
	down := []string{KindCmd, KindAck}
	var seen []string
	for _, c := range doc.Channels {
		seen = append(seen, c.ID)
		want := prefix + c.ID
		if perDevice(c.ID) {
			want += "/{dev}"
		}
		action := "send"
		if slices.Contains(down, c.ID) {
			action = "receive"
		}
		if c.Address != want || len(c.Operations) != 1 || c.Operations[0].Action != action ||
			c.Operations[0].QoS != 1 ||
			c.Operations[0].Retain != slices.Contains(retained, c.ID) {
			t.Errorf("%s: %+v", c.ID, c)
		}
		if c.ID != KindHistz && len(c.Keys) == 0 {
			t.Errorf("%s: the parser did not find the schema", c.ID)
		}
	}
	slices.Sort(seen)
	want := []string{KindAck, KindCmd, KindEvent, KindHist, KindHistz, KindMeta, KindRes, KindStatus, KindTele}
	if !slices.Equal(seen, want) {
		t.Errorf("channels %v, want %v", seen, want)
	}
}

// checkLive: units come from meta, a bad value is not a number, and the will of an earlier connection is not shown.
func checkLive(t *testing.T, node func(...string) *exec.Cmd) {
	b := newBroker(t)
	good := goldens(t)
	const base = "bordo/v1/cremasco/quintano/"
	b.publish(t, base+"status", string(good["status-online"]), true)
	b.publish(t, base+"meta/inv-1", string(good["meta-inverter"]), true)
	view := foreign.Start(t, node("live.mjs", "mqtt://"+b.Addr()))
	if got, want := view.Next(t), "quintano online SIMULATED backlog 102 | meter-1: Il dispositivo non risponde"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	sample := strings.ReplaceAll(string(good["batch-tele"]), "pi-0042", "quintano")
	tele := func() { b.publish(t, base+"tele/inv-1", sample, false) }
	tele()
	line := "quintano/inv-1 2025-10-09T08:53:20.000Z ac_power=1234.5 W on=true flow=-"
	if got := view.Next(t); got != line {
		t.Errorf("got  %s\nwant %s", got, line)
	}
	b.publish(t, base+"status", string(Will("quintano", "an-earlier-one")), true)
	tele()
	if got := view.Next(t); got != line {
		t.Errorf("after a late will: %s", got)
	}
	b.publish(t, base+"status", string(good["status-lost"]), true)
	if got := view.Next(t); got != "quintano lost backlog 0" {
		t.Error(got)
	}
}

// TestArchive: the archive in Python keeps each record once, over its own restarts, and misses nothing while it is away.
func TestArchive(t *testing.T) {
	b := newBroker(t)
	db := filepath.Join(t.TempDir(), "archive.db")
	archive := func() *foreign.Process {
		return foreign.Start(t, exec.Command(foreign.Python, "examples/archive.py", "127.0.0.1", b.port(), db))
	}
	const base = "bordo/v1/cremasco/quintano/"
	good := goldens(t)
	hist := strings.Replace(string(good["batch-hist"]), `"seq":12`, `"seq":99`, 1)

	a := archive()
	b.subscribed(t, "bordo-archive", "bordo/v1/+/+/res")
	b.publish(t, base+"hist/meter-1", string(good["batch-hist"]), false)
	for _, want := range []string{
		"quintano 00017q2m 12 meter-1 sample est", "quintano 00017q2m 14 meter-1 sample est",
		"quintano 00017q2m 17 meter-1 sample est",
	} {
		if got := a.Next(t); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	a.Stop(syscall.SIGTERM)
	b.publish(t, base+"hist/meter-1", hist, false) // 14 and 17 again, 99 new
	b.publish(t, base+"event/node", string(good["event-store-gap"]), false)
	b.publish(t, base+"res", string(good["event-result"]), false)
	a = archive()
	for _, want := range []string{
		"quintano 00017q2m 99 meter-1 sample est",
		"quintano k3f9x2q7 10240 node bordo.store.gap.v1 sync",
		"quintano k3f9x2q7 301 barrier-1 bordo.command.v1 sync",
	} {
		if got := a.Next(t); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	a.Stop(syscall.SIGTERM)
	count := foreign.Run(t, "", exec.Command(foreign.Python, "-c",
		"import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT count(*), count(DISTINCT ep || seq) FROM record').fetchone())", db))
	if got := strings.TrimSpace(count); got != "6 6" {
		t.Errorf("records and identities: %s", got)
	}
}
