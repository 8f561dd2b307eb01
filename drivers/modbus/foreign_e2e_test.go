//go:build e2e

package modbus_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"bordo/drivers"
	"bordo/drivers/modbus"
)

// foreign starts another maker's server (python3-pymodbus, libmodbus5) and returns its port URL.
func foreign(t *testing.T, kind, where string) string {
	t.Helper()
	url := ""
	if where == "serial" {
		var theirs string
		theirs, url = cable(t)
		url = "serial://" + url + "?baud=19200"
		where = theirs
	}
	cmd := exec.Command("/usr/bin/python3", "testdata/foreign.py", kind, where)
	var grumbling bytes.Buffer
	cmd.Stderr = &grumbling
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have exited
		cmd.Wait()         //nolint:errcheck // killed
		if t.Failed() {
			t.Logf("output of %s:\n%s", kind, grumbling.String())
		}
	})
	output, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("start %s: %v", kind, err)
	}
	if url == "" {
		url = "tcp://127.0.0.1:" + strings.TrimSpace(output)
	}
	return url
}

// cable connects two pseudo terminals and returns their names.
func cable(t *testing.T) (one, other string) {
	t.Helper()
	var masters, slaves [2]*os.File
	for i := range masters {
		m, s, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := term.MakeRaw(int(s.Fd())); err != nil {
			t.Fatal(err)
		}
		masters[i], slaves[i] = m, s
	}
	over := make(chan struct{}, 2)
	for i := range masters {
		go func() {
			io.Copy(masters[1-i], masters[i]) //nolint:errcheck // ends with the cable
			over <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		for _, s := range slaves {
			s.Write([]byte{0}) //nolint:errcheck // wakes the copier, which then finds the other side closed
		}
		for i := range masters {
			slaves[i].Close()
			masters[i].Close()
		}
	})
	return slaves[0].Name(), slaves[1].Name()
}

// twentyAt100 returns the profile for testdata/foreign.py.
func twentyAt100(t *testing.T) *modbus.Profile {
	text := "schema: 1\nmodel: foreign-twenty\ntitle: F\nkind: meter\nverified: paper\nbus: baud=19200\nunit: {range: [1, 247]}\ntiming: {reply_max: 800ms}\npoints:\n"
	for i := range 20 {
		text += fmt.Sprintf("  - {point: dc%d_power, at: holding:%d, type: u16}\n", i+1, 100+i)
	}
	return profile(t, text)
}

// until runs the line until done returns true, at most two minutes.
func until(t *testing.T, url string, done func([]drivers.Report) bool, devices ...drivers.Device) []drivers.Report {
	t.Helper()
	p := twentyAt100(t)
	builtIn := modbus.Of(p)
	link, err := builtIn.Link(lineOf(t, url), devices)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var reports []drivers.Report
	open(ctx, t, url, link, func(r drivers.Report) {
		reports = append(reports, r)
		if done(reports) {
			cancel()
		}
	})
	return reports
}

func unit(n int) drivers.Device {
	return drivers.Device{ID: fmt.Sprint("d", n), Model: "foreign-twenty", Unit: n, Every: 200 * time.Millisecond}
}

// wantForeign checks that a report has exactly these values of the twenty.
func wantForeign(t *testing.T, r drivers.Report, missing ...int) {
	t.Helper()
	for i := range 20 {
		want := fmt.Sprint(1000 + i)
		for _, m := range missing {
			if m == i {
				want = "?"
			}
		}
		if got := value(r, fmt.Sprintf("dc%d_power", i+1)); got != want {
			t.Errorf("register %d is %s, want %s", 100+i, got, want)
		}
	}
}

func TestForeignServers(t *testing.T) {
	for _, where := range []string{"tcp", "serial"} {
		t.Run("pymodbus "+where, func(t *testing.T) {
			url := foreign(t, "pymodbus", where)
			last := map[string]drivers.Report{}
			n := map[string]int{}
			until(t, url, func(all []drivers.Report) bool {
				r := all[len(all)-1]
				last[r.Device] = r
				n[r.Device]++
				return n["d1"] > 4 && n["d2"] > 4
			}, unit(1), unit(2))
			wantForeign(t, last["d1"], 7) // the hole is found, the others are read
			wantForeign(t, last["d2"])    // the slow device is waited for
			if last["d1"].Err != nil || last["d2"].Err != nil {
				t.Errorf("last errors: %v, %v", last["d1"].Err, last["d2"].Err)
			}
		})
		t.Run("libmodbus "+where, func(t *testing.T) {
			url := foreign(t, "libmodbus", where)
			reports := until(t, url, func(all []drivers.Report) bool { return len(all) > 4 }, unit(1))
			if len(reports) == 0 {
				t.Fatal("no report")
			}
			wantForeign(t, reports[len(reports)-1], 16, 17, 18, 19)
		})
	}
	t.Run("pymodbus closing connections", func(t *testing.T) {
		url := foreign(t, "pymodbus", "drop")
		good := 0
		until(t, url, func(all []drivers.Report) bool {
			if r := all[len(all)-1]; r.Err == nil && len(r.Readings) == 20 {
				good++
			}
			return good > 6
		}, unit(2))
		if good <= 6 {
			t.Errorf("%d good polls", good)
		}
	})
}
