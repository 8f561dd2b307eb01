package agent_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bordo/sim"
)

// imageVersion is the version that brought the present layout of an agent's directory: update makes the image of it, if there
// is none. Those that were given away are never made anew.
const imageVersion = "0.1.0"

var update = flag.Bool("update", false, "make the directory in testdata of the present layout, if it is missing")

// imaged is a node with the configuration of the images: two devices that are polled so rarely that an hour stays small.
func imaged(t *testing.T) *node {
	n := newNode(t)
	n.configure(strings.NewReplacer("every: 1s", "every: 30s", "every: 2s", "every: 1m").Replace(n.text))
	return n
}

// makeImage lets an agent work for an hour, most of it without broker, stops it, and packs what it left.
func makeImage(t *testing.T, to string) {
	n := imaged(t)
	n.start()
	time.Sleep(10 * time.Minute)
	n.raise(sim.Fault{Kind: sim.BrokerGone})
	time.Sleep(10 * time.Minute)
	n.faults.silence("dev-2", true)
	time.Sleep(10 * time.Minute)
	n.faults.silence("dev-2", false)
	time.Sleep(30 * time.Minute)
	n.stop()
	packDir(t, n.cfg.StateDir, to)
}

// TestImages: what an agent of the present layout and of every one before left on the card is delivered by the agent of today,
// record by record as it was written down then, and its counters, quarter hours and numbers go on.
func TestImages(t *testing.T) {
	here := filepath.Join("testdata", "state", imageVersion)
	if _, err := os.Stat(here + ".zip"); *update && errors.Is(err, os.ErrNotExist) {
		synctest.Test(t, func(t *testing.T) { makeImage(t, here+".zip") })
	}
	images, err := filepath.Glob("testdata/state/*.zip")
	if err != nil || !slices.Contains(images, here+".zip") {
		t.Fatalf("images %q, %v: none of version %s", images, err, imageVersion)
	}
	for _, image := range images {
		told := strings.TrimSuffix(image, ".zip") + ".txt"
		t.Run(filepath.Base(image), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := imaged(t)
				unpackDir(t, image, n.cfg.StateDir)
				time.Sleep(2 * time.Hour) // the image was made in the first
				n.start()
				time.Sleep(20 * time.Minute)
				n.stop()
				got := delivered(n)
				if _, err := os.Stat(told); *update && errors.Is(err, os.ErrNotExist) {
					if err := os.WriteFile(told, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(told)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("delivered\n%s\ninstead of\n%s", got, want)
				}
				if len(n.doubled) > 0 {
					t.Errorf("twice came %q", n.doubled)
				}
			})
		})
	}
}

// bootID is that of the machine on which the test runs.
var bootID = regexp.MustCompile(`"boot":"[^"]*"`)

// delivered tells in words all that came of the epochs before the present one, and how the present one goes on.
func delivered(n *node) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	present := n.statuses[len(n.statuses)-1].Ep
	for _, id := range slices.SortedFunc(maps.Keys(n.arrived), byIdentity) {
		if !strings.HasPrefix(id, present) {
			_, topic, _ := strings.Cut(n.arrived[id].topic, "/quintano/")
			fmt.Fprintln(&b, id, topic, n.arrived[id].raw)
		}
	}
	var then []string // of two devices whatever comes first
	for _, e := range n.events {
		if e.Ep == present {
			then = append(then, fmt.Sprintln("then", e.Dev, e.Type,
				bootID.ReplaceAllString(string(e.Data), `"boot":"…"`)))
		}
	}
	slices.SortStableFunc(then, func(a, b string) int {
		return strings.Compare(strings.Fields(a)[1],
			strings.Fields(b)[1])
	})
	b.WriteString(strings.Join(then, ""))
	for _, dev := range slices.Sorted(maps.Keys(n.metas)) {
		fmt.Fprintln(&b, "meta", dev, n.metas[dev].Rev, n.metas[dev].Serial)
	}
	return b.String()
}

// byIdentity orders {ep}-{seq} by number.
func byIdentity(a, b string) int {
	if d := len(a) - len(b); d != 0 && strings.Split(a, "-")[0] == strings.Split(b, "-")[0] {
		return d
	}
	return strings.Compare(a, b)
}

func packDir(t *testing.T, dir, to string) {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, err := range []error{w.AddFS(os.DirFS(dir)), w.Close(), os.MkdirAll(filepath.Dir(to), 0o755),
		os.WriteFile(to, b.Bytes(), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func unpackDir(t *testing.T, from, dir string) {
	t.Helper()
	r, err := zip.OpenReader(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.CopyFS(dir, r), r.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
}
