package buffer

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// writerEnv is the environment variable that makes this test binary a writer in the given directory, for the kill and
// power cut tests. The writer opens the store and appends endlessly. On standard output it reports sealed records ("S
// epoch seq class sum") and settled ones ("A epoch seq").
const writerEnv = "BORDO_BUFFER_WRITER"

// sum returns the checksum by which parent and writer identify a payload.
func sum(payload []byte) string { return fmt.Sprintf("%x", sha256.Sum256(payload))[:16] }

// writer is the main function of the child process. It returns only on an error.
func writer(dir string) error {
	s, err := Open(dir, writerOptions())
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	rnd := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(time.Now().UnixNano())))
	say := func(r Record) { fmt.Fprintf(out, "S %s %d %d %s\n", r.Epoch, r.Seq, r.Class, sum(r.Payload)) }
	for {
		var held []Record
		for range 1 + rnd.IntN(30) {
			c := []Class{Reading, Reading, Reading, Reading, Interval, Event, Card}[rnd.IntN(7)]
			payload := make([]byte, 1+rnd.IntN(4000))
			for i := range payload {
				payload[i] = byte(rnd.Uint32())
			}
			id, err := s.Append(c, 1, 2, payload)
			if err != nil {
				return err
			}
			r := Record{ID: id, Class: c, Payload: payload}
			if c.atOnce() {
				say(r)
			} else {
				held = append(held, r)
			}
		}
		if err := s.flushAll(); err != nil {
			return err
		}
		for _, r := range held {
			say(r)
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if rnd.IntN(3) == 0 {
			for _, r := range s.Fresh(rnd.IntN(40)) {
				fmt.Fprintf(out, "A %s %d\n", r.Epoch, r.Seq)
				if err := out.Flush(); err != nil { // before settling: until then the parent requires the records
					return err
				}
				if err := s.Settle([]ID{r.ID}); err != nil {
					return err
				}
			}
		}
		if rnd.IntN(20) == 0 { // kills during maintenance find the most faults
			if err := s.reclaim(); err != nil {
				return err
			}
		}
	}
}

// writerOptions returns options for a small store that evicts.
func writerOptions() Options {
	return Options{MaxSize: 24 << 20, Reserve: 4 << 20, History: 1 << 20, Sync: 50 * time.Millisecond}
}

// writerReports records the reports of all writers so far.
type writerReports struct {
	mu     sync.Mutex
	sealed map[ID]string // sums of sealed, unsettled records by identity
	all    map[ID]string // every identity ever reported
	twice  []ID
}

func newWriterReports() *writerReports {
	return &writerReports{sealed: map[ID]string{}, all: map[ID]string{}}
}

// hear processes one line of a writer's output.
func (w *writerReports) hear(line string) error {
	f := strings.Fields(line)
	if len(f) < 3 {
		return fmt.Errorf("writer printed %q", line)
	}
	seq, err := strconv.ParseUint(f[2], 10, 64)
	if err != nil {
		return fmt.Errorf("writer printed %q: %w", line, err)
	}
	id := ID{f[1], seq}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case f[0] == "A":
		delete(w.sealed, id)
	case f[0] == "S" && len(f) == 5:
		if _, ok := w.all[id]; ok {
			w.twice = append(w.twice, id)
		}
		w.sealed[id], w.all[id] = f[4], f[4]
	}
	return nil
}

// snapshot returns the records that must be on disk at this moment.
func (w *writerReports) snapshot() map[ID]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[ID]string{}
	for id, s := range w.sealed {
		out[id] = s
	}
	return out
}

// startWriter starts a child that writes to dir. It returns when the child has begun. done is closed when all output of
// the child has been read.
func startWriter(t *testing.T, dir string, w *writerReports) (cmd *exec.Cmd, begun, done chan struct{}) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), writerEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begun, done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		first := true
		for lines.Scan() {
			if err := w.hear(lines.Text()); err != nil {
				return // the last line is incomplete
			}
			if first {
				close(begun)
				first = false
			}
		}
	}()
	return cmd, begun, done
}

// verifyReports opens a store and checks that every record in need is either there or covered by an eviction gap. With
// settle it settles everything.
func verifyReports(t *testing.T, dir string, w *writerReports, need map[ID]string, settle bool) {
	t.Helper()
	s, err := Open(dir, writerOptions())
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if _, used := w.all[ID{s.epoch, 1}]; used {
		t.Errorf("epoch %s is used again", s.epoch)
	}
	got := map[ID]bool{}
	for c := Event; c <= Card; c++ {
		for recs := range leaseAll(t, s, c, 500) {
			for _, r := range recs {
				if want, ok := w.all[r.ID]; ok && want != sum(r.Payload) {
					t.Errorf("%s carries another payload", r.ID)
				}
				got[r.ID] = true
			}
			if settle {
				if err := s.Settle(idsOf(recs)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	gaps := s.Gaps()
	lost := 0
	for id := range need {
		evicted := false
		for _, g := range gaps {
			evicted = evicted || g.Reason == Evicted && g.Epoch == id.Epoch && g.From <= id.Seq && id.Seq <= *g.To
		}
		if !got[id] && !evicted {
			lost++
			if lost <= 3 {
				t.Errorf("sealed record %s is lost: %+v, gaps %+v", id, s.Opened(), gaps)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d sealed records are lost", lost, len(need))
	}
	if !settle {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.sealed)
	if len(w.twice) > 0 {
		t.Errorf("identities used twice: %v", w.twice)
	}
}
