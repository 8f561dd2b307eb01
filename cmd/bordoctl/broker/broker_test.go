package broker

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bordo/agent/mqtt"
)

// options reads flags as a command does.
func options(t *testing.T, args ...string) (Options, error) {
	t.Helper()
	var o Options
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	o.Flags(set)
	if err := set.Parse(args); err != nil {
		return o, err
	}
	return o, o.Check()
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password, empty, nonsense := write("password", "secret\n"), write("empty", ""), write("nonsense", "no certificate")
	for line, want := range map[string]string{
		"--url mqtt://a": "",
		"--url mqtt://a,mqtts://b:1 --url mqtt://c":               "",
		"--url mqtt://a --username u --password-file " + password: "",
		"--url mqtt://a --root one/two --tenant cremasco":         "",
		"":                   "which broker? --url mqtts://HOST",
		"--url a:1883":       "must be mqtts://HOST:PORT or mqtt://HOST:PORT",
		"--url mqtt://u:p@a": "name and password go into username and password_file",
		"--url mqtt://a --password-file " + password:           "--password-file needs --username beside it",
		"--url mqtt://a --username u --password-file " + empty: "--password-file: read " + empty + ": the file is empty",
		"--url mqtts://a --cert-file x":                        "--cert-file and --key-file need each other",
		"--url mqtts://a --ca-file " + nonsense:                "no certificate in PEM form is in it",
		"--url mqtts://a --ca-file /nowhere":                   "read /nowhere: no such file or directory",
		"--url mqtt://a --ca-file " + nonsense:                 "work only with mqtts://",
		"--url mqtt://a --root +":                              `--root: root "+"`,
		"--url mqtt://a --tenant #":                            `--tenant: id "#"`,
	} {
		_, err := options(t, strings.Fields(line)...)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
	o, err := options(t, "--url", "mqtt://a,mqtt://b", "--url", "mqtt://c")
	if err != nil || len(o.URLs) != 3 {
		t.Errorf("three URLs give %q, %v", o.URLs, err)
	}
}

func TestFilters(t *testing.T) {
	o := Options{Tenant: "cremasco"}
	if got := o.Filters(); !slices.Equal(got, []string{"bordo/v1/cremasco/+/#"}) {
		t.Errorf("everything: %q", got)
	}
	o.Node, o.Root = "quintano", "one/two"
	if got := o.Filters("status", "tele"); !slices.Equal(got,
		[]string{"one/two/v1/cremasco/quintano/status", "one/two/v1/cremasco/quintano/tele/+"}) {
		t.Errorf("two kinds: %q", got)
	}
}

// TestHints: what can go wrong has a sentence, and says which flag to look at.
func TestHints(t *testing.T) {
	plain, secure := &url.URL{Scheme: "mqtt", Host: "a:1883"}, &url.URL{Scheme: "mqtts", Host: "a:8883"}
	wrap := func(err error) error { return fmt.Errorf("connect to a: tls with a: %w", err) }
	for _, c := range []struct {
		u    *url.URL
		o    Options
		err  error
		want string
	}{
		{plain, Options{}, mqtt.ErrRefused, "give --username and --password-file"},
		{plain, Options{Username: "u"}, mqtt.ErrRefused, "Check --username"},
		{plain, Options{}, fmt.Errorf("subscribe x: %w", mqtt.ErrRefused), "listen to less with --tenant"},
		{plain, Options{}, fmt.Errorf("subscribe x: %w", io.EOF), "instead of answering"},
		{plain, Options{}, &net.DNSError{}, "check --url, and the name servers"},
		{plain, Options{}, syscall.ECONNREFUSED, "Nobody listens there"},
		{plain, Options{}, os.ErrDeadlineExceeded, "a firewall"},
		{plain, Options{}, syscall.ECONNRESET, "--url mqtts://a:1883"},
		{secure, Options{}, wrap(syscall.ECONNRESET), "--url mqtt://a:8883"},
		{secure, Options{}, errors.New("remote error: tls: certificate required"), "give --cert-file"},
		{secure, Options{CertFile: "x"}, errors.New("network Error : EOF"), "was --cert-file signed"},
		{secure, Options{}, wrap(x509.UnknownAuthorityError{}), "with --ca-file"},
		{secure, Options{CAFile: "x"}, wrap(x509.UnknownAuthorityError{}), "somebody else than --ca-file"},
		{secure, Options{}, wrap(x509.HostnameError{Certificate: &x509.Certificate{}}), "use that name in --url"},
		{secure, Options{}, wrap(x509.CertificateInvalidError{Reason: x509.Expired}), "not valid today"},
		{plain, Options{}, context.Canceled, ""},
		{plain, Options{}, errors.New("something new"), ""},
	} {
		if got := c.o.hint(c.u, c.err); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
}

func TestBackOff(t *testing.T) {
	for attempt := range 100 {
		if d := backOff(attempt, false); d <= 0 || d > min(backOffMax, time.Second<<min(attempt, 10)) {
			t.Errorf("attempt %d waits %s", attempt, d)
		}
		if d := backOff(attempt, true); d < refusedWait || d >= 2*refusedWait {
			t.Errorf("refused %d times waits %s", attempt, d)
		}
	}
}

// TestOverflow: what comes faster than it is looked at is told.
func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Listen(Options{}, nil)
		for range queueLen {
			l.tell(t.Context(), Event{})
		}
		if l.Overflow() {
			t.Error("told too early")
		}
		go l.tell(t.Context(), Event{URL: "last"})
		synctest.Wait()
		if !l.Overflow() {
			t.Error("not told")
		}
		for range queueLen {
			<-l.Events()
		}
		if e := <-l.Events(); e.URL != "last" {
			t.Errorf("the last one is %+v", e)
		}
	})
}
