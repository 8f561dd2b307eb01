package uplink

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"bordo/agent/clock"
	"bordo/agent/config"
	"bordo/contract"
)

// credentialsEvery is the interval at which the files for the next connection are checked. An existing connection does
// not need them: without this check, a mistake in a renewed certificate would show only when the link breaks, perhaps
// months later.
const credentialsEvery = 15 * time.Second

// WatchCredentials raises a condition when a password, certificate or key is unusable, and requests a status update
// when the certificate on disk changes. Two consecutive checks must fail: between writing a certificate and writing its
// key, the two do not match.
func (u *Uplink) WatchCredentials(ctx context.Context) {
	failed := 0
	until := ValidUntil(u.cfg.CertFile)
	for more := true; more; more = clock.Sleep(ctx, credentialsEvery) {
		err := usable(u.cfg, u.TLSTime())
		if failed++; err == nil {
			failed = 0
		}
		if failed != 1 {
			u.Conditions.Set(contract.CredentialsUnusable, "", err != nil, text(err))
		}
		if now := ValidUntil(u.cfg.CertFile); now != until {
			until = now
			u.PublishStatus()
		}
	}
}

// usable tries every file that a connection to any of the brokers would read, judged at the given time.
func usable(m config.MQTT, now time.Time) error {
	if _, err := m.Password(); err != nil {
		return err
	}
	for _, u := range m.URLs {
		if u.Scheme == "mqtts" { // the same files for each of them
			if _, err := m.TLS(u); err != nil {
				return err
			}
			return ended(m, now)
		}
	}
	return nil
}

// ended says that the client certificate is over. A broker that refuses it says so in its own words, or in none.
func ended(m config.MQTT, now time.Time) error {
	until := ValidUntil(m.CertFile)
	if until == 0 || now.UnixMilli() < until {
		return nil
	}
	return fmt.Errorf("the certificate in cert_file ended on %s",
		time.UnixMilli(until).UTC().Format("2006-01-02 15:04 UTC"))
}

// ValidUntil returns when a client certificate expires, in ms UTC; 0 when there is none or it cannot be read.
func ValidUntil(certFile string) int64 {
	if certFile == "" {
		return 0
	}
	b, err := os.ReadFile(certFile)
	if err != nil {
		return 0
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return 0
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return 0
	}
	return cert.NotAfter.UnixMilli()
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
