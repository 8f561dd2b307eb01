//go:build e2e

package main_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bordo/agent"
	"bordo/contract"
	"bordo/contract/foreign"
)

// authority makes certificates for one test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
	life time.Duration // of what is issued, from now on; 0: a day
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.issue(t, "ca", true)
	return a
}

// issue writes NAME.crt and NAME.key and returns their paths. The first one signs itself.
func (a *authority) issue(t *testing.T, name string, isCA bool) (cert, key string) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.n++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(cmp.Or(a.life, 24*time.Hour)),
		IsCA: isCA, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := template, own
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &own.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		a.key = own
	}
	secret, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der},
		key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// secured is a broker with the configuration that is shipped, its paths and port apart.
func secured(t *testing.T, a *authority) *foreign.Mosquitto {
	t.Helper()
	m := foreign.NewMosquitto(t)
	cert, key := a.issue(t, "server", false)
	shipped := filepath.Join("..", "..", "packaging", "mosquitto")
	text, err := os.ReadFile(filepath.Join(shipped, "bordo.conf"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(filepath.Join(shipped, "bordo.acl"))
	if err != nil {
		t.Fatal(err)
	}
	acl := filepath.Join(m.Dir, "bordo.acl")
	if err := os.WriteFile(acl, rules, 0o600); err != nil {
		t.Fatal(err)
	}
	conf := strings.NewReplacer(
		"listener 8883", fmt.Sprintf("listener %d 127.0.0.1", m.Port),
		"/etc/mosquitto/ca.crt", filepath.Join(a.dir, "ca.crt"), "/etc/mosquitto/server.crt", cert,
		"/etc/mosquitto/server.key", key, "/etc/mosquitto/bordo.acl", acl,
		"persistence true", "persistence true\npersistence_location "+m.Dir+"/\nuser root").Replace(string(text))
	m.Configure(t, conf)
	m.Up(t)
	return m
}

// secureSite writes the configuration of a site once more, for TLS and under somebody's certificate.
func secureSite(t *testing.T, a *authority, m *foreign.Mosquitto, plain, path, certOf string) string {
	t.Helper()
	text, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := a.issue(t, certOf, false)
	url := fmt.Sprintf(`url: "mqtt://127.0.0.1:%d"`, m.Port)
	replaced := strings.Replace(string(text), url,
		fmt.Sprintf(`url: "mqtts://127.0.0.1:%d", ca_file: %s, cert_file: %s, key_file: %s`,
			m.Port, filepath.Join(a.dir, "ca.crt"), cert, key), 1)
	if err := os.WriteFile(path, []byte(replaced), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTLS: client certificates and the shipped access rules. A box reaches the platform under its own name, is told when
// it uses another's, and another box's certificate opens nothing of it.
func TestTLS(t *testing.T) {
	t.Parallel() // it mostly waits
	a := newAuthority(t)
	m := secured(t, a)
	tls := func(name string) []string {
		cert, key := a.issue(t, name, false)
		return []string{"--cafile", filepath.Join(a.dir, "ca.crt"), "--cert", cert, "--key", key, "-h", "127.0.0.1",
			"-p", fmt.Sprint(m.Port)}
	}
	sub := subscribe(t, m, tls("platform")...)
	plain, dir := site(t, m, "")
	own := runAgent(t, secureSite(t, a, m, plain, filepath.Join(dir, "own.yaml"), "quintano"))
	sub.until(t, "samples over TLS", func() bool { return len(sub.samples("inv-1")) >= 2 })
	if st := sub.status(t, "quintano"); st.TLSUntil < time.Now().UnixMilli() {
		t.Errorf("tls_until %d is over", st.TLSUntil)
	}
	intruder := append(tls("ponte"), "-q", "1", "-t", "bordo/v1/cremasco/quintano/cmd", "-m", "x")
	exec.Command("mosquitto_pub", intruder...).Run() //nolint:errcheck // whether the broker says no or nothing is its affair
	// Status and meta are retained: whoever may read them gets them at once.
	spy := append(tls("ponte"), "-q", "1", "-v", "-W", "2", "-t", "bordo/#")
	if heard, _ := exec.Command("mosquitto_sub", spy...).Output(); len(heard) > 0 {
		t.Errorf("another box read this one's topics: %s", heard)
	}
	own.Stop(syscall.SIGTERM)
	sub.until(t, "the goodbye", func() bool { return sub.status(t, "quintano").State == contract.Offline })
	if _, heard := sub.last["bordo/v1/cremasco/quintano/cmd"]; heard {
		t.Error("another box wrote to this one's commands")
	}

	// The certificate of another box: the broker passes nothing on.
	before := len(sub.arrived)
	config := secureSite(t, a, m, plain, filepath.Join(dir, "wrong.yaml"), "ponte")
	wrong := runAgent(t, config)
	t.Cleanup(func() { wrong.Stop(syscall.SIGKILL) })
	over := time.Now().Add(patience)
	for {
		out, _, code := bordo(t, "status", "--config", config, "--json")
		if code == 0 {
			if h := decode[agent.Status](t, out).Health; slices.ContainsFunc(h,
				func(c contract.Health) bool { return c.Code == contract.NotRouted }) {
				break
			}
		}
		if time.Now().After(over) {
			t.Fatalf("a broker that drops everything was not found out: %s", out)
		}
		time.Sleep(500 * time.Millisecond) // a real broker's silence takes real time
	}
	sub.pump()
	if len(sub.arrived) != before {
		t.Errorf("%d records came through under a foreign certificate", len(sub.arrived)-before)
	}

	// Without a certificate there is no way in.
	if out, err := exec.Command("mosquitto_pub", "--cafile", filepath.Join(a.dir, "ca.crt"), "-h", "127.0.0.1", "-p",
		fmt.Sprint(m.Port), "-t", "x", "-m", "x").CombinedOutput(); err == nil {
		t.Errorf("a client without certificate got in: %s", out)
	}
	sub.sane(t)
}
