package mqtt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// wire is a connection that keeps what is written to it, with the time of each write, and says nothing. A stalled one takes nothing: a write ends with the deadline or with Close.
type wire struct {
	stalled bool

	mu       sync.Mutex
	writes   [][]byte
	at       []time.Time
	deadline time.Time
	closed   chan struct{}
	once     sync.Once
	net.Conn // the rest is not used
}

func newWire() *wire { return &wire{closed: make(chan struct{})} }

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	late := time.NewTimer(time.Until(w.deadline))
	w.mu.Unlock()
	defer late.Stop()
	if w.stalled {
		select {
		case <-late.C:
			return 0, os.ErrDeadlineExceeded
		case <-w.closed:
			return 0, net.ErrClosed
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes, w.at = append(w.writes, bytes.Clone(p)), append(w.at, time.Now())
	return len(p), nil
}

func (w *wire) Read([]byte) (int, error) {
	<-w.closed
	return 0, net.ErrClosed
}

// out is what was written so far, and when.
func (w *wire) out() (writes [][]byte, at []time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.writes), slices.Clone(w.at)
}

func (w *wire) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	return nil
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func packet(t *testing.T, p packets.ControlPacket) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func publication(t *testing.T, size int) []byte {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Qos, p.MessageID, p.Payload = "a", 1, 1, make([]byte, size)
	return packet(t, p)
}

func write(t *testing.T, s *stream, p []byte) {
	t.Helper()
	if n, err := s.Write(p); n != len(p) || err != nil {
		t.Fatalf("write: %d of %d, %v", n, len(p), err)
	}
}

func TestPublicationsAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := newStream(w)
		var want []byte
		var given []time.Time
		for i := range 10 {
			pub := publication(t, 100+i)
			given, want = append(given, time.Now()), append(want, pub...)
			write(t, s, pub)
			time.Sleep(gatherTime * 3 / 10)
		}
		time.Sleep(gatherTime)
		writes, at := w.out()
		if !bytes.Equal(bytes.Join(writes, nil), want) || len(writes) != 3 {
			t.Errorf("%d bytes in %d writes, want %d in 3", len(bytes.Join(writes, nil)), len(writes), len(want))
		}
		for i, n := range []int{0, 4, 8} { // the first of each write: it has waited longest
			if d := at[i].Sub(given[n]); d != gatherTime {
				t.Errorf("publication %d has waited %v", n, d)
			}
		}
	})
}

// What is handed over together goes out together with the last of it, and none of it waits.
func TestCorkedPublicationsAreWrittenTogether(t *testing.T) {
	for _, c := range []struct {
		name   string
		behind int // publications that reach the stream only after it was uncorked
	}{{"all come before", 0}, {"the last comes after", 1}, {"all come after", 10}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWire()
			s := newStream(w)
			start := time.Now()
			s.cork()
			s.handed.Add(10)
			for range 10 - c.behind {
				write(t, s, publication(t, 100))
			}
			s.uncork()
			for range c.behind {
				write(t, s, publication(t, 100))
			}
			synctest.Wait()
			writes, at := w.out()
			if want := 10 * len(publication(t, 100)); len(writes) != 1 || len(writes[0]) != want ||
				!at[0].Equal(start) {
				t.Errorf("%s: %d writes, %v, want one of %d bytes at once", c.name, len(writes), at, want)
			}
		})
	}
}

// A publication that was handed over and never comes does not hold the others up.
func TestMissingPublicationIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := newStream(w)
		start := time.Now()
		s.cork()
		s.handed.Add(2)
		s.uncork()
		write(t, s, publication(t, 100))
		time.Sleep(2 * gatherTime)
		if writes, at := w.out(); len(writes) != 1 || at[0].Sub(start) != gatherTime {
			t.Errorf("%d writes, %v", len(writes), at)
		}
	})
}

func TestOtherPacketsAreWrittenAtOnce(t *testing.T) {
	for _, kind := range []byte{packets.Connect, packets.Subscribe, packets.Puback, packets.Pingreq,
		packets.Disconnect} {
		synctest.Test(t, func(t *testing.T) {
			w := newWire()
			s := newStream(w)
			pub, other := publication(t, 100), packet(t, packets.NewControlPacket(kind))
			start := time.Now()
			write(t, s, pub)
			write(t, s, other)
			writes, at := w.out()
			if len(writes) != 1 || !bytes.Equal(writes[0], slices.Concat(pub, other)) || !at[0].Equal(start) {
				t.Errorf("%s: written %v, after %v", packets.PacketNames[kind], writes, time.Since(start))
			}
			time.Sleep(2 * gatherTime)
			if writes, _ := w.out(); len(writes) != 1 {
				t.Errorf("%s: something was written twice", packets.PacketNames[kind])
			}
		})
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		s := newStream(w)
		var want []byte
		for _, size := range []int{gatherSize / 2, gatherSize / 3, gatherSize / 2, 4 * gatherSize, 10} {
			pub := publication(t, size)
			write(t, s, pub)
			want = append(want, pub...)
			s.busy <- struct{}{}
			if len(s.waiting) > gatherSize || cap(s.waiting) > gatherSize {
				t.Errorf("%d bytes wait in %d", len(s.waiting), cap(s.waiting))
			}
			<-s.busy
		}
		time.Sleep(2 * gatherTime)
		writes, _ := w.out()
		if got := bytes.Join(writes, nil); !bytes.Equal(got, want) || len(writes) != 4 {
			t.Errorf("%d bytes in %d writes, want %d in 4", len(got), len(writes), len(want))
		}
	})
}

// A peer that takes nothing costs the write time-out, whoever waits for it, and the error is told to the reader and to every
// later writer.
func TestStalledPeerEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		w.stalled = true
		s := newStream(w)
		read := make(chan error, 1)
		go func() {
			_, err := s.Read(make([]byte, 10))
			read <- err
		}()
		start := time.Now()
		write(t, s, publication(t, 100)) // it only waits, and the timer finds out
		time.Sleep(2 * gatherTime)
		if _, err := s.Write(publication(t, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write behind the stalled one: %v", err)
		}
		if d := time.Since(start); d != writeTimeout+gatherTime {
			t.Errorf("it took %v", d)
		}
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the reader was told %v", err)
		}
		if _, err := s.Write(packet(t, packets.NewControlPacket(packets.Pingreq))); !errors.Is(err,
			os.ErrDeadlineExceeded) {
			t.Errorf("a later write: %v", err)
		}
	})
}

func TestCloseDoesNotWaitForAStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		w.stalled = true
		s := newStream(w)
		write(t, s, publication(t, 100))
		time.Sleep(2 * gatherTime)
		start := time.Now()
		if err := s.Close(); err != nil || time.Since(start) != 0 {
			t.Errorf("close took %v: %v", time.Since(start), err)
		}
	})
}

// A broker that has an acknowledgement to write when the DISCONNECT arrives must find the connection open, or it publishes
// the will. One that never closes is waited for no longer than farewellTime.
func TestCloseWaitsForTheBrokerAfterDisconnect(t *testing.T) {
	for _, c := range []struct {
		name    string
		closes  time.Duration // the broker, after the DISCONNECT; 0 for never
		waiting time.Duration
	}{
		{"the broker closes", farewellTime / 4, farewellTime / 4},
		{"the broker never closes", 0, farewellTime},
	} {
		synctest.Test(t, func(t *testing.T) {
			here, broker := net.Pipe()
			s := newStream(here)
			go io.Copy(io.Discard, s) //nolint:errcheck // paho's reader: it ends with the connection
			said := make(chan error, 1)
			go func() {
				if _, err := packets.ReadPacket(broker); err != nil {
					said <- err
					return
				}
				time.Sleep(c.closes)
				said <- packets.NewControlPacket(packets.Puback).Write(broker)
				if c.closes > 0 {
					broker.Close() //nolint:errcheck // nothing to save
				}
			}()
			write(t, s, packet(t, packets.NewControlPacket(packets.Disconnect)))
			start := time.Now()
			if err := s.Close(); err != nil || time.Since(start) != c.waiting {
				t.Errorf("%s: close took %v: %v", c.name, time.Since(start), err)
			}
			if err := <-said; err != nil {
				t.Errorf("%s: the broker's last word: %v", c.name, err)
			}
		})
	}
}
