//go:build e2e

package sim

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bordo/drivers/line"
)

// The same reader on a pseudo terminal and on a loopback port: it speaks as soon as somebody is there, with the settings of the
// line only, and nothing is left of it.
func TestProtocolOfItsOwnIsServed(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	v, err := Serve(ctx, gate(), ServeOptions{Dir: dir, Seed: 1, families: readers()})
	if err != nil {
		t.Fatal(err)
	}
	entrance := "serial://" + filepath.Join(dir, "entrance") + "?baud="
	for url, speaks := range map[string]bool{entrance + "9600": true, entrance + "19200": false,
		v.Endpoints[1].URL: true} {
		e, err := line.Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		p, err := line.Open(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		got := heard(t, p, 2*readerEvery+readerEvery/2)
		if n := strings.Count(got, "CARD "); n >= 1 != speaks || n > 3 {
			t.Errorf("%s: %q", url, got)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(readerEvery / 4) // real sockets take real time
	}
	if id, err := v.Site.Raise("exit", Fault{Kind: Noise}); err != nil {
		t.Errorf("noise: %d, %v", id, err)
	}
	cancel()
	if err := v.Wait(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}
