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

// cycles is the number of kills in the kill test. BORDO_KILL_CYCLES sets a different number.
func cycles(t *testing.T, name string, n int) int {
	if v := os.Getenv(name); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return n
}

// TestKill kills a writer at random moments, including during maintenance. No sealed record may be lost and no identity
// reused. It does not test fsync, because the page cache survives the process; TestPowerCut does.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	w := newWriterReports()
	rnd := rand.New(rand.NewPCG(1, 1))
	records := 0
	n := cycles(t, "BORDO_KILL_CYCLES", 50)
	for i := range n {
		cmd, begun, done := startWriter(t, dir, w)
		<-begun
		time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond) // real time, because the writer is another process
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-done
		_ = cmd.Wait() //nolint:errcheck // it was killed
		records = len(w.all)
		// Every third time the store is only inspected, and the next writer continues with its content.
		verifyReports(t, dir, w, w.snapshot(), i%3 == 0)
		if t.Failed() {
			t.Fatalf("cycle %d of %d", i+1, n)
		}
	}
	t.Logf("%d cycles, %d records sealed", n, records)
}
