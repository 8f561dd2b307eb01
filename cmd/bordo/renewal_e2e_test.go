//go:build e2e

package main_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bordo/agent"
	"bordo/contract"
	"bordo/contract/foreign"
)

// renewal is a box at a broker whose certificates are renewed while it runs. The files that both read stand in dir.
type renewal struct {
	t                *testing.T
	old, fresh       *authority
	dir              string
	trust, cert, key string // of the box
	clients          string // the authorities that the broker trusts
	broker           *foreign.Mosquitto
	sub              *subscriber
	config           string
}

func (r *renewal) write(path string, from ...string) {
	r.t.Helper()
	var all []byte
	for _, f := range from {
		b, err := os.ReadFile(f)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, b...)
	}
	if err := os.WriteFile(path, all, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// half leaves of a file what is there when a writer was stopped.
func (r *renewal) half(path string) {
	r.t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()*3/4)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func newRenewal(t *testing.T) *renewal {
	t.Helper()
	r := &renewal{t: t, old: newAuthority(t), fresh: newAuthority(t), dir: t.TempDir()}
	r.broker = secured(t, r.old)
	r.clients = filepath.Join(r.dir, "clients.pem")
	r.write(r.clients, r.old.file("ca.crt"), r.fresh.file("ca.crt"))
	text, err := os.ReadFile(r.broker.Conf)
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.Replace(string(text), "cafile "+r.old.file("ca.crt"), "cafile "+r.clients, 1)
	r.broker.Configure(t, conf)
	r.restart()

	// The platform has its new certificate already, and trusts both authorities.
	cert, key := r.fresh.issue(t, "platform", false)
	both := filepath.Join(r.dir, "both.pem")
	r.write(both, r.clients)
	r.sub = subscribe(t, r.broker, "--cafile", both, "--cert", cert, "--key", key, "-h", "127.0.0.1", "-p",
		fmt.Sprint(r.broker.Port))

	plain, dir := site(t, r.broker, "")
	r.config = secureSite(t, r.old, r.broker, plain, filepath.Join(dir, "own.yaml"), "quintano")
	r.trust, r.cert, r.key = filepath.Join(r.dir, "trust.pem"), r.old.file("quintano.crt"), r.old.file("quintano.key")
	r.write(r.trust, r.old.file("ca.crt"))
	text, err = os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.config, []byte(strings.Replace(string(text), r.old.file("ca.crt"), r.trust, 1)),
		0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// file is one of an authority's files.
func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// restart cuts every connection.
func (r *renewal) restart() {
	r.t.Helper()
	r.broker.Down()
	r.broker.Up(r.t)
}

func (r *renewal) until(what string, ok func(s contract.Status) bool) contract.Status {
	r.t.Helper()
	r.sub.until(r.t, what, func() bool { return ok(r.sub.status(r.t, "quintano")) })
	return r.sub.status(r.t, "quintano")
}

// flows waits until fresh samples have come.
func (r *renewal) flows(what string) {
	r.t.Helper()
	before := len(r.sub.samples("inv-1"))
	r.sub.until(r.t, "samples "+what, func() bool { return len(r.sub.samples("inv-1")) >= before+2 })
}

// says waits until the box itself says why it is not connected.
func (r *renewal) says(want string) {
	r.t.Helper()
	// a real broker's answer takes real time
	for over := time.Now().Add(patience); ; time.Sleep(250 * time.Millisecond) {
		out, _, code := bordo(r.t, "status", "--config", r.config, "--json")
		if code == 0 && strings.Contains(decode[agent.Status](r.t, out).Broker.Error, want) {
			return
		}
		if time.Now().After(over) {
			r.t.Fatalf("the box does not say %q: %s", want, out)
		}
	}
}

func unusable(s contract.Status) string {
	for _, h := range s.Health {
		if h.Code == contract.CredentialsUnusable {
			return h.Detail
		}
	}
	return ""
}

func (r *renewal) ends(path string) int64 {
	r.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		r.t.Fatal(err)
	}
	return c.NotAfter.UnixMilli()
}

// TestRenewal: certificates are renewed under a box that runs. What is on the disk counts at the next connection; a file that
// was half written is told while the connection still lives, and costs nothing once it is right.
func TestRenewal(t *testing.T) {
	t.Parallel() // it mostly waits
	r := newRenewal(t)
	box := runAgent(t, r.config)
	r.flows("with the first certificate")
	first := r.until("the box", func(s contract.Status) bool { return s.State == contract.Online })
	if first.TLSUntil != r.ends(r.cert) {
		t.Errorf("tls_until %d, the certificate ends at %d", first.TLSUntil, r.ends(r.cert))
	}

	// Half a certificate: told, and the connection goes on.
	r.half(r.cert)
	broken := r.until("the broken file", func(s contract.Status) bool { return unusable(s) != "" })
	if d := unusable(broken); !strings.Contains(d, r.cert) || broken.Sess != first.Sess || broken.TLSUntil != 0 {
		t.Errorf("told %q, session %s after %s, tls_until %d", d, broken.Sess, first.Sess, broken.TLSUntil)
	}
	r.flows("with a broken file on the disk")

	// Cut now, the box stays away and says why, until the file is right: a certificate of the new authority.
	r.restart()
	r.says(r.cert)
	r.fresh.life = 48 * time.Hour
	cert, key := r.fresh.issue(t, "quintano", false)
	r.write(r.key, key)
	r.write(r.cert, cert)
	renewed := r.until("the box with its new certificate", func(s contract.Status) bool {
		return s.State == contract.Online && s.Sess != first.Sess && unusable(s) == ""
	})
	if renewed.TLSUntil != r.ends(cert) {
		t.Errorf("tls_until %d, the new certificate ends at %d", renewed.TLSUntil, r.ends(cert))
	}

	// The broker forgets the old authority: what it signed gets nobody in, the box comes back with what it has now.
	r.write(r.clients, r.fresh.file("ca.crt"))
	r.restart()
	stranger, strangerKey := r.old.issue(t, "ponte", false)
	if out, err := exec.Command("mosquitto_pub", "--cafile", r.trust, "--cert", stranger, "--key", strangerKey,
		"-h", "127.0.0.1", "-p", fmt.Sprint(r.broker.Port), "-q", "1", "-t", "x", "-m",
		"x").CombinedOutput(); err == nil {
		t.Errorf("a certificate of the old authority got in: %s", out)
	}
	r.until("the box after the old authority",
		func(s contract.Status) bool { return s.State == contract.Online && s.Sess != renewed.Sess })

	r.rollServer()
	r.expire()

	box.Stop(syscall.SIGTERM)
	r.sub.until(t, "the goodbye", func() bool { return r.sub.status(t, "quintano").State == contract.Offline })
	st := r.sub.status(t, "quintano")
	for seq := uint64(1); seq < st.Next; seq++ {
		if _, ok := r.sub.arrived[fmt.Sprintf("%s-%d", st.Ep, seq)]; !ok && len(st.Backlog) == 0 {
			t.Errorf("%s-%d did not come", st.Ep, seq)
		}
	}
	r.sub.sane(t)
}

// rollServer gives the broker a certificate of the new authority. The box is told of both authorities before, half at first.
func (r *renewal) rollServer() {
	r.t.Helper()
	r.write(r.trust, r.old.file("ca.crt"), r.fresh.file("ca.crt"))
	r.half(r.trust)
	broken := r.until("half a bundle", func(s contract.Status) bool { return strings.Contains(unusable(s), r.trust) })
	r.write(r.trust, r.old.file("ca.crt"), r.fresh.file("ca.crt"))
	server, key := r.fresh.issue(r.t, "server", false)
	r.write(r.old.file("server.key"), key)
	r.write(r.old.file("server.crt"), server)
	r.restart()
	r.until("the box at the renewed broker",
		func(s contract.Status) bool { return s.State == contract.Online && s.Sess != broken.Sess })
	r.flows("from the renewed broker")
}

// expire lets the box's certificate run out: the broker refuses it, and the box says so in words that help.
func (r *renewal) expire() {
	r.t.Helper()
	before := r.sub.status(r.t, "quintano")
	r.fresh.life = -time.Minute
	cert, key := r.fresh.issue(r.t, "quintano", false)
	r.write(r.key, key)
	r.write(r.cert, cert)
	r.until("the end of the certificate", func(s contract.Status) bool {
		return s.TLSUntil == r.ends(cert) && strings.Contains(unusable(s), "the certificate in cert_file ended on ")
	})
	r.restart()
	r.says("the certificate in cert_file ended on ")
	r.fresh.life = 24 * time.Hour
	cert, key = r.fresh.issue(r.t, "quintano", false)
	r.write(r.key, key)
	r.write(r.cert, cert)
	r.until("the box with a certificate that lasts",
		func(s contract.Status) bool { return s.State == contract.Online && s.Sess != before.Sess })
}
