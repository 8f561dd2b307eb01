package driverstest_test

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/driverstest"
)

func TestWireTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := driverstest.Wire(time.Millisecond)
		start := time.Now()
		if n, err := a.Write([]byte("abcdef")); n != 6 || err != nil || time.Since(start) != 0 {
			t.Fatalf("wrote %d, %v after %v", n, err, time.Since(start))
		}
		buf := make([]byte, 10)
		for i, want := range []string{"a", "b"} {
			n, err := b.Read(buf)
			if string(buf[:n]) != want || err != nil || time.Since(start) != time.Duration(i+1)*time.Millisecond {
				t.Errorf("read %q, %v after %v", buf[:n], err, time.Since(start))
			}
		}
		time.Sleep(2500 * time.Microsecond) // 4.5 ms after the start
		if n, err := b.Read(buf); string(buf[:n]) != "cd" || err != nil {
			t.Errorf("read %q, %v: want the two that arrived", buf[:n], err)
		}
		// What is written while the line is busy comes after it.
		if _, err := a.Write([]byte("g")); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for len(got) < 3 {
			n, err := b.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		if string(got) != "efg" || time.Since(start) != 7*time.Millisecond {
			t.Errorf("read %q after %v", got, time.Since(start))
		}
	})
}

func TestWireDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := driverstest.Wire(0)
		start := time.Now()
		b.SetDeadline(start.Add(time.Second))
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) ||
			time.Since(start) != time.Second {
			t.Errorf("read: %v after %v", err, time.Since(start))
		}
		a.Write([]byte{1})
		if n, err := b.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("a read with a deadline that passed gave %d, %v of what was there", n, err)
		}
		b.SetDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { b.SetDeadline(time.Unix(1, 0)) })
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) ||
			time.Since(start) != time.Hour+time.Second {
			t.Errorf("a cancelled read: %v after %v", err, time.Since(start))
		}
	})
}

func TestWireIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := driverstest.Wire(0)
		a.SetDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 1<<20))
		if n == 0 || n == 1<<20 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v into a wire that nobody reads", n, err)
		}
		a.SetDeadline(time.Time{})
		go func() {
			for {
				if _, err := b.Read(make([]byte, 100)); err != nil {
					return
				}
			}
		}()
		if n, err := a.Write(make([]byte, 1<<16)); n != 1<<16 || err != nil {
			t.Errorf("wrote %d, %v into a wire that is read", n, err)
		}
		b.Close()
	})
}

func TestWireHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := driverstest.Wire(time.Millisecond)
		a.Write([]byte("bye"))
		a.Close()
		var got bytes.Buffer
		_, err := got.ReadFrom(b)
		if got.String() != "bye" || !drivers.PortLost(err) || !errors.Is(err, driverstest.ErrHungUp) {
			t.Errorf("the other end read %q, then %v", got.String(), err)
		}
		if _, err := b.Write([]byte{1}); !drivers.PortLost(err) {
			t.Errorf("the other end wrote: %v", err)
		}
		if _, err := a.Read(make([]byte, 1)); !drivers.PortLost(err) || !errors.Is(err, os.ErrClosed) {
			t.Errorf("our own end read: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		a, b = driverstest.Wire(0)
		time.AfterFunc(time.Second, func() { b.Close() })
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a read whose port is closed: %v", err)
		}
		if _, err := a.Read(make([]byte, 1)); !drivers.PortLost(err) {
			t.Errorf("the other end: %v", err)
		}
	})
}
