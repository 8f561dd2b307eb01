package sim

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"bordo/drivers"
	"bordo/drivers/catalogue"
	"bordo/drivers/line"
	"bordo/drivers/modbus"
)

// one is a site with one device behind TCP.
func one(t *testing.T, model string) *Site {
	t.Helper()
	s, err := New(&Scenario{Version: 1, Name: "one", Sun: Sun{From: "2026-06-21T11:00"}, Site: Place{Lat: 45, Lon: 9},
		Lines: []Line{{ID: "line", Port: "tcp://10.0.0.1:502", Devices: []Device{{ID: "dev", Model: model, Unit: 1}}}}},
		Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a request for one register and tells whether an answer came within a while.
func ask(t *testing.T, c net.Conn, within time.Duration) bool {
	t.Helper()
	c.SetDeadline(time.Now().Add(within)) //nolint:errcheck // a pipe
	if _, err := c.Write([]byte{0, 1, 0, 0, 0, 6, 1, 3, 0x7D, 0x4E, 0, 1}); err != nil {
		return false
	}
	_, err := io.ReadFull(c, make([]byte, 11))
	if err != nil && !os.IsTimeout(err) && err != io.EOF {
		t.Logf("read: %v", err)
	}
	return err == nil
}

func dial(t *testing.T, s *Site) net.Conn {
	t.Helper()
	c, err := s.Dial(t.Context(), "tcp", "10.0.0.1:502")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A device wants to be spoken to as its profile says, and gives no answer to who does not.
func TestDevicesInsistOnTheirTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := one(t, "huawei-sun2000") // waits 1.5 s after a connection, 50 ms between requests, has one client
		c := dial(t, s)
		if ask(t, c, time.Second) {
			t.Error("answered at once after the connection")
		}
		time.Sleep(2 * time.Second)
		if !ask(t, c, time.Second) {
			t.Error("no answer after the wait")
		}
		if ask(t, c, time.Second) {
			t.Error("answered without a pause between two requests")
		}
		time.Sleep(100 * time.Millisecond)
		if !ask(t, c, time.Second) {
			t.Error("no answer after the pause")
		}
		second := dial(t, s)
		time.Sleep(2 * time.Second)
		if ask(t, second, time.Second) {
			t.Error("a second client was answered")
		}
		c.Close()      //nolint:errcheck // a pipe
		second.Close() //nolint:errcheck // a pipe
		synctest.Wait()
		third := dial(t, s)
		time.Sleep(2 * time.Second)
		if !ask(t, third, time.Second) {
			t.Error("no answer after the first client left")
		}
		third.Close() //nolint:errcheck // a pipe
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := one(t, "solaredge") // closes after two minutes
		c := dial(t, s)
		time.Sleep(119 * time.Second)
		if !ask(t, c, time.Second) {
			t.Error("closed too early")
		}
		time.Sleep(121 * time.Second)
		c.SetDeadline(time.Time{}) //nolint:errcheck // a pipe
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after two minutes of silence: %v", err)
		}
		c.Close() //nolint:errcheck // a pipe
	})
}

// A limit that a master writes is obeyed, and read back.
func TestInverterObeysALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := one(t, "sunspec")
		e, err := line.Parse("tcp://10.0.0.1:502")
		if err != nil {
			t.Fatal(err)
		}
		link, err := modbus.New().Link(e.Line("line"),
			[]drivers.Device{{ID: "dev", Model: "sunspec", Unit: 1, Every: 2 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		port, err := s.OpenPort(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		in := make(chan drivers.Request, 1)
		ended := make(chan error, 1)
		var last drivers.Report
		go func() { ended <- link.Run(ctx, port, in, func(r drivers.Report) { last = r }) }()
		time.Sleep(10 * time.Second)
		answer := make(chan drivers.Answer, 1)
		in <- drivers.Request{Device: "dev",
			Command: &drivers.Command{ID: "1", Device: "dev", Action: "inverter.limit",
				Args: map[string]any{"percent": 30.0}},
			Answer: func(a drivers.Answer) { answer <- a }}
		if a := <-answer; a.Result.Outcome != drivers.Done {
			t.Errorf("inverter.limit: %+v", a.Result)
		}
		time.Sleep(10 * time.Second)
		cancel()
		<-ended
		port.Close() //nolint:errcheck // a wire
		got := map[string]catalogue.Value{}
		for _, r := range last.Readings {
			got[r.Point] = r.Value
		}
		if p := got["ac_power"].Float(); got["state"].Text() != "throttled" || p > 3000 || p < 2900 {
			t.Errorf("state %s, %v W under a limit of 30 %% of 10 kW", got["state"], p)
		}
	})
}
