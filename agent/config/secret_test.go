package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSecretHidesItself(t *testing.T) {
	s := Secret{"tell nobody"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "in", struct{ S Secret }{s})
	js, err := json.Marshal(map[string]any{"s": s, "p": &s, "in": []Secret{s}})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(s, &s, []Secret{s}) + fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s) + log.String() + string(js)
	if strings.Contains(all, "nobody") {
		t.Errorf("the secret shows: %s", all)
	}
	if s.Reveal() != "tell nobody" {
		t.Error("the secret is lost")
	}
}

func put(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPassword(t *testing.T) {
	for _, x := range []struct{ name, text, want, fault string }{
		{"plain", "s3cret", "s3cret", ""},
		{"line end", "s3cret\n", "s3cret", ""},
		{"windows line end", "s3cret\r\n", "s3cret", ""},
		{"spaces belong to it", " s3 cret ", " s3 cret ", ""},
		{"byte order mark", "\ufeffs3cret\r\n", "s3cret", ""},
		{"only a byte order mark", "\ufeff\n", "", "the file is empty"},
		{"UTF-16", "\xff\xfea\x00b\x00", "", `the password is not UTF-8: the file is UTF-16 ("Unicode" in Windows), save it as UTF-8`},
		{"empty", "\n", "", "the file is empty"},
		{"two lines", "a\nb\n", "", "a password is one line of at most 1024 bytes"},
		{"long", strings.Repeat("x", 1025), "", "a password is one line of at most 1024 bytes"},
		{"binary", "\xff\xfe", "", "the password is not UTF-8"},
	} {
		t.Run(x.name, func(t *testing.T) {
			file := put(t, "mqtt.password", x.text)
			got, err := MQTT{PasswordFile: file}.Password()
			if x.fault != "" {
				if want := "read " + file + ": " + x.fault; err == nil || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
				return
			}
			if err != nil || got.Reveal() != x.want {
				t.Errorf("got %q (%v), want %q", got.Reveal(), err, x.want)
			}
		})
	}
	if got, err := (MQTT{}).Password(); err != nil || got.Reveal() != "" {
		t.Errorf("no file: got %q, %v", got.Reveal(), err)
	}
}

// Every file that cannot be used is told at the place where it is named, with the reason.
func TestFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	junk, cert := put(t, "junk.pem", "no certificate"), put(t, "cert.pem", "neither")
	text := fmt.Sprintf(`version: 1
tenant: t
node: n
mqtt:
  url: mqtts://broker.example
  username: u
  password_file: %s/none
  ca_file: %s
  cert_file: %s
  key_file: %s
lines: []
`, dir, junk, cert, dir)
	c, err := Parse("bordo.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`bordo.yaml:7:18: mqtt.password_file: read %s/none: no such file or directory
bordo.yaml:8:12: mqtt.ca_file: read %s: no certificate in PEM form is in it
bordo.yaml:10:13: mqtt.key_file: read %s: is a directory`, dir, junk, dir)
	if got := c.Files().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := len((&Config{}).Files()); got != 0 {
		t.Errorf("no files: %d faults", got)
	}
}

// selfSigned makes a certificate with its key, both in PEM.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "n"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder}))
}

func TestTLS(t *testing.T) {
	cert, key := selfSigned(t)
	_, other := selfSigned(t)
	m := MQTT{CAFile: put(t, "ca.pem", cert), CertFile: put(t, "cert.pem", cert), KeyFile: put(t, "key.pem", key)}
	u := &url.URL{Scheme: "mqtts", Host: "broker.example:8883"}
	got, err := m.TLS(u)
	if err != nil {
		t.Fatal(err)
	}
	if got.ServerName != "broker.example" || got.MinVersion != tls.VersionTLS12 || got.RootCAs == nil || len(got.Certificates) != 1 {
		t.Errorf("got %+v", got)
	}
	if plain, err := m.TLS(&url.URL{Scheme: "mqtt", Host: "broker.example:1883"}); plain != nil || err != nil {
		t.Errorf("mqtt://: got %v, %v", plain, err)
	}
	m.KeyFile = put(t, "key.pem", other)
	if _, err := m.TLS(u); err == nil || !strings.Contains(err.Error(), "read "+m.CertFile+" with "+m.KeyFile+": ") {
		t.Errorf("a key of another certificate: got %v", err)
	}
	if faults := (&Config{File: "x", MQTT: m}).Files(); len(faults) != 1 || faults[0].Path != "mqtt.cert_file" {
		t.Errorf("got %v", faults)
	}
}

// A file of certificates that was not written to its end is refused, whatever of it could be used: the authority that is
// missing is the one that will be needed.
func TestHalfABundle(t *testing.T) {
	old, _ := selfSigned(t)
	cert, key := selfSigned(t)
	u := &url.URL{Scheme: "mqtts", Host: "broker.example:8883"}
	whole := MQTT{CAFile: put(t, "ca.pem", old+"\n# the new one\n"+cert), CertFile: put(t, "cert.pem", cert+old), KeyFile: put(t, "key.pem", key)}
	if _, err := whole.TLS(u); err != nil {
		t.Fatal(err)
	}
	shorter := min(len(cert), len(old)) // a certificate may be a byte longer than another
	for cut := 1; cut < shorter; cut += 7 {
		for _, m := range []MQTT{
			{CAFile: put(t, "half.pem", old+cert[:len(cert)-cut])},
			{CAFile: whole.CAFile, CertFile: put(t, "chain.pem", cert+old[:len(old)-cut]), KeyFile: whole.KeyFile},
		} {
			begun := cut < shorter-len("-----BEGIN CERTIFICATE-----")
			if _, err := m.TLS(u); begun && cut > 1 && (err == nil || !strings.Contains(err.Error(), "2 certificates begin in it and only 1 are whole")) {
				t.Fatalf("%d bytes short: %v", cut, err)
			}
		}
	}
	garbled := strings.Replace(cert, "\nMII", "\nMIJ", 1)
	if _, err := (MQTT{CAFile: put(t, "garbled.pem", old+garbled)}).TLS(u); err == nil || !strings.Contains(err.Error(), "its certificate number 2") {
		t.Errorf("a garbled certificate: %v", err)
	}
}
