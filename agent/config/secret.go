package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"
)

// maxSecret bounds a file that is named in the configuration: a bundle of certificates is the largest that makes sense.
const maxSecret = 1 << 20

// Secret is a text that must not reach a log, a page or a status. It shows itself as ***; Reveal gives the text.
type Secret struct{ text string }

// hidden is shown instead of every secret.
const hidden = "***"

// Reveal returns the plaintext.
func (s Secret) Reveal() string { return s.text }

// String hides the text.
func (Secret) String() string { return hidden }

// GoString hides the text from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the text from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the text from JSON and whatever else marshals.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// byteOrderMark is what editors of Windows put in front of a file that they save as UTF-8.
const byteOrderMark = "\ufeff"

// Password reads the password from its file, without a leading byte order mark and one trailing line end; blanks belong
// to it. It is empty when no file is configured. The error names the file.
func (m MQTT) Password() (Secret, error) {
	if m.PasswordFile == "" {
		return Secret{}, nil
	}
	b, err := readFile(m.PasswordFile)
	if err != nil {
		return Secret{}, err
	}
	utf16 := (bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff})) && bytes.IndexByte(b, 0) >= 0
	b = bytes.TrimPrefix(b, []byte(byteOrderMark))
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	switch {
	case utf16:
		return Secret{}, fmt.Errorf("read %s: the password is not UTF-8: the file is UTF-16 (\"Unicode\" in Windows), save it as UTF-8", m.PasswordFile)
	case len(b) == 0:
		return Secret{}, fmt.Errorf("read %s: the file is empty", m.PasswordFile)
	case len(b) > 1024 || bytes.ContainsAny(b, "\n\x00"):
		return Secret{}, fmt.Errorf("read %s: a password is one line of at most 1024 bytes", m.PasswordFile)
	case !utf8.Valid(b):
		return Secret{}, fmt.Errorf("read %s: the password is not UTF-8", m.PasswordFile)
	}
	return Secret{string(b)}, nil
}

// SecretWarnings warns of what is unusual but possible in a password: blanks at its ends, which belong to it, and a
// byte order mark, which does not. An unreadable file has no warnings.
func (c *Config) SecretWarnings() Faults {
	const key = "mqtt.password_file"
	if c.MQTT.PasswordFile == "" {
		return nil
	}
	p, err := c.MQTT.Password()
	raw, errRaw := readFile(c.MQTT.PasswordFile)
	if err != nil || errRaw != nil {
		return nil
	}
	var out Faults
	warn := func(en, it string) {
		out = append(out, Fault{File: c.File, Place: c.places[key], Path: key, What: c.MQTT.PasswordFile + ": " + en, It: c.MQTT.PasswordFile + ": " + it})
	}
	if bytes.HasPrefix(raw, []byte(byteOrderMark)) {
		warn("begins with a byte order mark, as editors of Windows write it: it is left out", "comincia con un BOM, come lo scrivono gli editor di Windows: viene ignorato")
	}
	if text := p.Reveal(); strings.TrimSpace(text) != text {
		warn("the password begins or ends with a blank, which is part of it: delete the blank if it is not meant",
			"la password comincia o finisce con uno spazio, che ne fa parte: cancellarlo se non è voluto")
	}
	return out
}

// TLS makes the settings for a broker from the configured files; nil for mqtt://. The error names the file.
func (m MQTT) TLS(u *url.URL) (*tls.Config, error) {
	if u.Scheme != "mqtts" {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	if m.CAFile != "" {
		pool, err := m.authorities()
		if err != nil {
			return nil, err
		}
		t.RootCAs = pool
	}
	if m.CertFile != "" {
		pair, err := m.certificate()
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

func (m MQTT) authorities() (*x509.CertPool, error) {
	b, err := readFile(m.CAFile)
	if err != nil {
		return nil, err
	}
	certs, err := certificates(m.CAFile, b)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

func (m MQTT) certificate() (tls.Certificate, error) {
	cert, err := readFile(m.CertFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	if _, err := certificates(m.CertFile, cert); err != nil {
		return tls.Certificate{}, err
	}
	key, err := readFile(m.KeyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read %s with %s: %w", m.CertFile, m.KeyFile, err)
	}
	return pair, nil
}

// certificates reads all certificates of a file and refuses a partially written one. The standard library skips what it
// cannot read, and a bundle without its last authority would be noticed only when the broker's certificate is renewed.
func certificates(path string, text []byte) (certs []*x509.Certificate, err error) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue // a key, or what some tool left beside it
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: its certificate number %d: %w", path, len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	begun := bytes.Count(text, []byte("-----BEGIN CERTIFICATE-----"))
	switch {
	case begun > len(certs):
		return nil, fmt.Errorf("read %s: %d certificates begin in it and only %d are whole: was it written to the end?", path, begun, len(certs))
	case len(certs) == 0:
		return nil, fmt.Errorf("read %s: no certificate in PEM form is in it", path)
	}
	return certs, nil
}

// Files reads every file that the configuration names, as it will be read at use, and reports the unusable ones with
// the reason. It keeps nothing and writes nothing.
func (c *Config) Files() Faults {
	var faults Faults
	tell := func(path string, err error) {
		if err != nil {
			faults = append(faults, Fault{File: c.File, Place: c.places[path], Path: path, What: err.Error()})
		}
	}
	m := c.MQTT
	_, err := m.Password()
	tell("mqtt.password_file", err)
	if m.CAFile != "" {
		_, err := m.authorities()
		tell("mqtt.ca_file", err)
	}
	if m.CertFile != "" {
		_, certErr := readFile(m.CertFile)
		tell("mqtt.cert_file", certErr)
		_, keyErr := readFile(m.KeyFile)
		tell("mqtt.key_file", keyErr)
		if certErr == nil && keyErr == nil {
			_, err := m.certificate()
			tell("mqtt.cert_file", err)
		}
	}
	return faults.sorted()
}

// readFile reads a file that a person was to put there. The error says in few words why it cannot be read.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close() //nolint:errcheck // nothing was written
		var b []byte
		b, err = io.ReadAll(io.LimitReader(f, maxSecret+1))
		if err == nil && len(b) > maxSecret {
			return nil, fmt.Errorf("read %s: larger than 1 MiB", path)
		}
		if err == nil {
			return b, nil
		}
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return nil, fmt.Errorf("read %s: %w", path, err)
}
