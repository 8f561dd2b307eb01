package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bordo/agent/config"
	"bordo/agent/mqtt"
	"bordo/agent/owner"
	"bordo/drivers/line"
)

// dialed is the error of a connection that could not be opened, as package net makes it.
func dialed(cause error) error {
	return fmt.Errorf("connect to broker.test:8883: %w",
		&net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 8883}, Err: cause})
}

func connecting(n syscall.Errno) error { return dialed(os.NewSyscallError("connect", n)) }

// passwordError is the error of a password file with the given text, which the sentence names FILE.
func passwordError(t *testing.T, text string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mqtt.password")
	if text != "" {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := config.MQTT{PasswordFile: file}.Password()
	if err == nil {
		t.Fatal("the password is good")
	}
	return errors.New(strings.ReplaceAll(err.Error(), file, "/etc/bordo/mqtt.password"))
}

func openError(t *testing.T, port string) error {
	t.Helper()
	e, err := line.Parse(port)
	if err != nil {
		t.Fatal(err)
	}
	p, err := line.Open(t.Context(), e)
	if err == nil {
		t.Fatal(errors.Join(errors.New("the port opens"), p.Close()))
	}
	return err
}

// What fails between this box and the broker, and at a port, is said in Italian, from the errors as they are made.
func TestCausesInItalian(t *testing.T) {
	u := &url.URL{Scheme: "mqtts", Host: "broker.test:8883"}
	expired := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	for want, err := range map[string]error{
		"nome utente o password sbagliati, o utente non autorizzato": fmt.Errorf("connect to %s: %w: this user may not connect", u.Host, mqtt.ErrRefused),
		"il certificato del broker è di un'autorità sconosciuta": fmt.Errorf("tls with %s: %w", u.Host,
			x509.UnknownAuthorityError{}),
		"è scaduto il 2026-11-30T00:00:00Z,": x509.CertificateInvalidError{Cert: &x509.Certificate{},
			Reason: x509.Expired,
			Detail: "current time 2026-12-01T03:00:00Z is after " + expired.Format(time.RFC3339)},
		"vale dal 2026-11-30T00:00:00Z:": x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired,
			Detail: "current time 2026-01-01T03:00:00Z is before " + expired.Format(time.RFC3339)},
		"è per altro.test, non per broker.test:":            x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"altro.test"}}, Host: "broker.test"},
		"non è per l'indirizzo 192.0.2.7:":                  x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"altro.test"}}, Host: "192.0.2.7"},
		"192.0.2.7 c'è, ma su quella porta nessuno ascolta": connecting(syscall.ECONNREFUSED),
		"da questa rete 192.0.2.7 non si raggiunge":         connecting(syscall.EHOSTUNREACH),
		"da questa rete 192.0.2.7 non si raggiunge:":        connecting(syscall.ENETUNREACH),
		"broker.test non risponde: indirizzo giusto?":       connecting(syscall.ETIMEDOUT),
		"broker.test non risponde: indirizzo giusto":        dialed(os.ErrDeadlineExceeded),
		"il nome broker.test non si trova": &net.DNSError{Err: "no such host", Name: "broker.test",
			Server: "192.168.1.1:53", IsNotFound: true},
		"il nome broker.test non si trova:": &net.DNSError{Err: "server misbehaving",
			Name: "broker.test", IsTemporary: true},
		"l'altro lato ha chiuso la connessione": &net.OpError{Op: "read", Net: "tcp",
			Err: os.NewSyscallError("read", syscall.ECONNRESET)},
		"manca il file /etc/bordo/mqtt.password":              passwordError(t, ""),
		"il file /etc/bordo/mqtt.password è vuoto":            passwordError(t, "\n"),
		"/etc/bordo/mqtt.password deve contenere una sola":    passwordError(t, "a\nb\n"),
		"/etc/bordo/mqtt.password non è in UTF-8":             passwordError(t, "\xff\xfea\x00"),
		"la porta non c'è: l'adattatore è inserito?":          openError(t, "serial:///dev/bordo-is-not-here"),
		"non è una porta seriale":                             openError(t, "serial:///dev/null"),
		"la porta è occupata: la tiene aperta un altro":       errors.New("open serial:///dev/ttyUSB0: busy: another program has it open: device or resource busy"),
		"usermod -aG dialout UTENTE":                          errors.New("open serial:///dev/ttyUSB0: permission denied (add the user to group dialout): permission denied"),
		"forse è la porta senza TLS":                          errors.New("tls with broker.test:1883: the other side does not speak TLS, perhaps this port is without TLS: EOF"),
		"forse è la porta con TLS":                            errors.New("connect to broker.test:8883: the other side closes before it answers the login, perhaps this port is for TLS: EOF"),
		"il broker chiede un certificato":                     errors.New("remote error: tls: certificate required"),
		"il certificato di questo nodo (cert_file) è scaduto": errors.New("the certificate in cert_file ended on 2026-11-30 00:00 UTC"),
		"/data: il disco è in sola lettura; cercare la causa con dmesg": errors.New(owner.Explain(
			fmt.Errorf("make directory: %w", &fs.PathError{Op: "mkdir", Path: "/data", Err: syscall.EROFS}), "/data")),
		"il disco è pieno; liberare spazio: df -h ": errors.New(owner.Explain(&fs.PathError{Op: "write", Path: "/x",
			Err: syscall.ENOSPC}, "/bordo-is-not-here")),
		"la scheda SD o il disco ha un guasto": errors.New(owner.Explain(&fs.PathError{Op: "write", Path: "/x",
			Err: syscall.EIO}, "/x")),
		"/bordo-is-not-here non c'è e non si può creare in /, che appartiene a root; montare il disco che manca, o come root: install -d -o ": errors.New(
			owner.Explain(&fs.PathError{Op: "mkdir", Path: "/bordo-is-not-here", Err: syscall.EACCES},
				"/bordo-is-not-here")),
		"/d appartiene a root e l'agente gira come bordo; come root: chown -R bordo: /d": errors.New(
			"open /d/lock: permission denied. /d belongs to root and the agent runs as bordo. As root: chown -R bordo: /d"),
		"/d appartiene a root e non lascia entrare bordo; come root: chmod o+x /d": errors.New(
			"open /d/x/lock: permission denied. /d belongs to root and does not let bordo in. As root: chmod o+x /d"),
		"/d appartiene a bordo, che non ha i permessi che servono; come root: chmod -R u+rwX /d": errors.New(
			"open /d/lock: permission denied. /d belongs to bordo, whose rights to it are not enough. As root: chmod -R u+rwX /d"),
		"l'agente gira come root e /d appartiene a bordo; fermarlo, poi come root: chown -R bordo: /d": errors.New("the agent runs as root and" +
			" /d belongs to bordo, who cannot use the files that root makes. Stop it, and as root: chown -R bordo: /d"),
	} {
		if got := causeText(err.Error(), italian()); !strings.Contains(got, want) || got == err.Error() {
			t.Errorf("%v\n  is %q, want %q", err, got, want)
		}
		if got := causeText(err.Error(), english()); got != err.Error() {
			t.Errorf("in English %q became %q", err, got)
		}
	}
	for _, other := range []string{"", "read input 0x0000+32: timeout", "SN-OLD-1 was known, SN-NEW-2 answers"} {
		if got := causeText(other, italian()); got != other {
			t.Errorf("%q became %q", other, got)
		}
	}
}
