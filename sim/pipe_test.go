package sim

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipeIsBuffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := pipe("test")
		if _, err := here.Write([]byte("late reply")); err != nil {
			t.Fatal(err)
		}
		if err := here.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(there)
		if string(got) != "late reply" || err != nil {
			t.Errorf("read %q, %v after the writer closed", got, err)
		}
		if _, err := there.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed pipe: %v", err)
		}
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read from the closed end: %v", err)
		}
	})
}

func TestPipeDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := pipe("test")
		start := time.Now()
		here.SetReadDeadline(start.Add(3 * time.Second)) //nolint:errcheck // cannot fail
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) ||
			time.Since(start) != 3*time.Second {
			t.Errorf("read: %v after %s", err, time.Since(start))
		}

		// A deadline that has passed counts before bytes that are there, and it can be taken back.
		there.Write([]byte("ab")) //nolint:errcheck // there is room
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read past the deadline: %v", err)
		}
		here.SetReadDeadline(time.Time{}) //nolint:errcheck // cannot fail
		if n, err := here.Read(make([]byte, 4)); n != 2 || err != nil {
			t.Errorf("read after the deadline was lifted: %d, %v", n, err)
		}

		// Moved from another goroutine, it ends a read that is under way.
		time.AfterFunc(time.Second, func() { here.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // cannot fail
		start = time.Now()
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) ||
			time.Since(start) != time.Second {
			t.Errorf("cancelled read: %v after %s", err, time.Since(start))
		}

		here.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // cannot fail
		n, err := here.Write(make([]byte, pipeRoom+1))
		if n != pipeRoom || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write into a full pipe: %d, %v", n, err)
		}
	})
}

func TestPipeCarriesEverythingInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := pipe("test")
		sent := make([]byte, 3*pipeRoom+17)
		for i := range sent {
			sent[i] = byte(i * 7)
		}
		go func() {
			here.Write(sent) //nolint:errcheck // the reader takes everything
			here.Close()     //nolint:errcheck // cannot fail
		}()
		if got, err := io.ReadAll(there); !bytes.Equal(got, sent) || err != nil {
			t.Errorf("%d bytes of %d arrived, %v", len(got), len(sent), err)
		}
	})
}
