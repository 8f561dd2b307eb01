//go:build e2e

package buffer

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// cycles is how often the kill test kills; BORDO_KILL_CYCLES asks for more.
func cycles(t *testing.T, name string, n int) int {
	if v := os.Getenv(name); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return n
}

// TestKill kills a writer at any moment, maintenance included: nothing that was sealed is lost, no identity comes
// twice. It proves nothing about fsync, since the page cache survives the process: that is what the power cut test is
// for.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	w := newSaid()
	rnd := rand.New(rand.NewPCG(1, 1))
	records := 0
	n := cycles(t, "BORDO_KILL_CYCLES", 50)
	for i := range n {
		cmd, begun, done := startWriter(t, dir, w)
		<-begun
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond) // real time: the process is real
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-done
		_ = cmd.Wait() //nolint:errcheck // it was killed
		records = len(w.all)
		// Every third time only looks; the next writer goes on with what is there.
		verifySaid(t, dir, w, w.snapshot(), i%3 == 0)
		if t.Failed() {
			t.Fatalf("cycle %d of %d", i+1, n)
		}
	}
	t.Logf("%d cycles, %d records sealed", n, records)
}
