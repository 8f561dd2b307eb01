package broker

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"bordo/agent/mqtt"
)

// explain puts behind an error what can be done about it.
func (o Options) explain(u *url.URL, err error) error {
	if hint := o.hint(u, err); hint != "" {
		return fmt.Errorf("%w\n%s", err, hint)
	}
	return err
}

func (o Options) hint(u *url.URL, err error) string {
	text := err.Error()
	switch {
	case errors.Is(err, context.Canceled):
		return ""
	case strings.HasPrefix(text, "subscribe"):
		if errors.Is(err, mqtt.ErrRefused) {
			return "The broker's access rules keep this user from these topics: allow it to read them, or listen to less with --tenant."
		}
		return "The broker ended the connection instead of answering: its access rules may keep this user from these topics."
	case errors.Is(err, mqtt.ErrRefused):
		if o.Username == "" {
			return "The broker wants to know who asks: give --username and --password-file, or a certificate with --cert-file and --key-file."
		}
		return "Check --username and what stands in --password-file; some brokers say the same to users whom they do not know."
	}
	if hint := tlsHint(o, err, text); hint != "" {
		return hint
	}
	switch dns := (*net.DNSError)(nil); {
	case errors.As(err, &dns):
		return "The name of the broker cannot be found: check --url, and the name servers of this machine."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "Nobody listens there: check host and port in --url (mqtt:// is usually 1883, mqtts:// 8883), and whether the broker runs."
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		strings.Contains(text, "timeout"):
		return "No answer: a firewall may be in the way, or the host in --url is wrong."
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || strings.Contains(text, "EOF"):
		if u.Scheme == "mqtt" {
			return "The other side hung up at the first word: does this port want TLS? Then it is --url mqtts://" + u.Host
		}
		if !strings.Contains(text, "tls with") { // the greeting went well, and then a certificate was missed
			return certificateHint(o)
		}
		return "The other side hung up in the middle of the greeting: is there TLS on this port? If not, it is --url mqtt://" + u.Host
	}
	return ""
}

// tlsHint is about certificates.
func tlsHint(o Options, err error, text string) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		if o.CAFile == "" {
			return "This machine does not know who signed the broker's certificate: give the authority's certificate with --ca-file."
		}
		return "The broker's certificate was signed by somebody else than --ca-file: is it the right file, or is this another broker?"
	case errors.As(err, &name):
		return "The broker's certificate is for another name: use that name in --url, or have the certificate made for this one."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "The broker's certificate is not valid today: renew it, or set the clock of this machine."
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		return "There is no TLS on this port: mqtt:// instead of mqtts://, or another port."
	case strings.Contains(text, "remote error: tls"):
		return certificateHint(o)
	}
	return ""
}

// certificateHint explains why the broker may refuse the client certificate. With TLS 1.3 it says so only after the
// handshake, or just hangs up.
func certificateHint(o Options) string {
	if o.CertFile == "" {
		return "The broker wants a certificate from us: give --cert-file and --key-file."
	}
	return "The broker does not accept our certificate: was --cert-file signed by the authority that the broker trusts?"
}
