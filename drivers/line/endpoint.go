// Package line turns the port URLs of the configuration into open ports: TCP, serial lines, and serial lines tunnelled
// through TCP. It opens and closes; its user decides when to reopen.
package line

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bordo/drivers"
)

// Scheme is the kind of a port.
type Scheme string

// The schemes of a port URL.
const (
	TCP           Scheme = "tcp"        // the protocol's own framing on TCP (Modbus TCP)
	Serial        Scheme = "serial"     // a serial device of this machine
	SerialOverTCP Scheme = "serial+tcp" // serial frames in a TCP stream, as from a serial server; rtu+tcp is an alias
)

// Parity of a serial line.
type Parity string

// The parities.
const (
	NoParity   Parity = "none"
	EvenParity Parity = "even"
	OddParity  Parity = "odd"
)

// Endpoint is a parsed port URL: the address of a line and its settings.
type Endpoint struct {
	Scheme Scheme
	Host   string // host:port, for TCP and SerialOverTCP; "host:" where the URL names no port (see WithPort)
	Path   string // of the device, for Serial
	Baud   int    // for Serial, and where given for SerialOverTCP (it only spaces the frames there)
	Parity Parity
	Bits   int // 7 or 8
	Stop   int // 1 or 2
	// of Serial: the kernel switches the transmitter with RTS, for UARTs whose transceiver does not do so itself
	RS485 bool

	RTU         bool // of SerialOverTCP: written as rtu+tcp
	TolerantIDs bool // of TCP: answers may carry another transaction id than their request
}

// Bauds are the speeds that the serial driver knows.
var Bauds = []int{300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 500000, 576000,
	921600, 1000000}

// Parse reads a port URL:
//
//	tcp://HOST[:PORT][?ids=strict|tolerant]
//	serial:///dev/PATH?baud=9600&parity=none|even|odd&stop=1|2&bits=7|8&rs485=on|off
//	serial+tcp://HOST:PORT[?baud=9600], also written rtu+tcp://HOST:PORT[?baud=9600]
//
// A missing port of tcp:// is that of the protocol: WithPort fills it in. The error says what is wrong and what is
// allowed.
func Parse(text string) (Endpoint, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Endpoint{}, fmt.Errorf("not a port URL: want tcp://HOST:502, serial:///dev/NAME?baud=9600 or rtu+tcp://HOST:PORT (got %q)", text)
	}
	e := Endpoint{Scheme: Scheme(u.Scheme)}
	if u.Scheme == rtuOverTCP {
		e.Scheme, e.RTU = SerialOverTCP, true
	}
	switch e.Scheme {
	case TCP:
		if err = e.setHost(u); err == nil {
			err = e.setIDs(u.RawQuery)
		}
	case SerialOverTCP:
		if err = e.setHost(u); err == nil {
			err = e.setSerial(u.RawQuery)
		}
	case Serial:
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return Endpoint{}, fmt.Errorf("serial:// takes a full path with three slashes: serial:///dev/NAME (got %q)",
				text)
		}
		e.Path = filepath.Clean(u.Path)
		e.Baud = 9600
		err = e.setSerial(u.RawQuery)
	default:
		err = fmt.Errorf("unknown kind of port %q: want tcp, serial or rtu+tcp", u.Scheme)
	}
	if err != nil {
		return Endpoint{}, err
	}
	return e, nil
}

func (e *Endpoint) setHost(u *url.URL) error {
	port := u.Port()
	if u.Hostname() == "" {
		return fmt.Errorf("%s:// needs a host (got %q)", e.Written(), u.String())
	}
	if !validHost(u.Hostname()) {
		return fmt.Errorf("host must be a name or an IP address, IPv6 in brackets (got %q)", u.Hostname())
	}
	if port == "" && e.Scheme != TCP {
		return fmt.Errorf("%s:// needs a port after the host (got %q)", e.Written(), u.String())
	}
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return fmt.Errorf("port must be 1 to 65535 (got %q)", port)
	}
	if u.Path != "" && u.Path != "/" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%s:// takes only host and port (got %q)", e.Written(), u.String())
	}
	e.Host = net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	return nil
}

// Portless reports whether the URL of a TCP endpoint named no port.
func (e Endpoint) Portless() bool { return e.Scheme == TCP && strings.HasSuffix(e.Host, ":") }

// WithPort gives the endpoint with a port where its URL named none: that of the protocol that is spoken there.
func (e Endpoint) WithPort(port int) Endpoint {
	if e.Portless() {
		e.Host += strconv.Itoa(port)
	}
	return e
}

// setIDs reads the one setting of a tcp:// port.
func (e *Endpoint) setIDs(query string) error {
	q, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("settings after %q are not readable (got %q)", "?", query)
	}
	for key, values := range q {
		switch {
		case key != "ids":
			return fmt.Errorf("unknown setting %q: tcp:// has only ids=strict or ids=tolerant", key)
		case len(values) != 1:
			return fmt.Errorf("%s is given %d times", key, len(values))
		case values[0] != "strict" && values[0] != "tolerant":
			return fmt.Errorf("ids must be strict or tolerant (got %q)", values[0])
		}
		e.TolerantIDs = values[0] == "tolerant"
	}
	return nil
}

// validHost reports whether a host is an address or consists of the characters of a name.
func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}

func (e *Endpoint) setSerial(query string) error {
	e.Parity, e.Bits, e.Stop = NoParity, 8, 1
	q, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("settings after %q are not readable (got %q)", "?", query)
	}
	for key, values := range q {
		if len(values) != 1 {
			return fmt.Errorf("%s is given %d times", key, len(values))
		}
		v := values[0]
		switch key {
		case "baud":
			e.Baud, err = strconv.Atoi(v)
			if err != nil || !slices.Contains(Bauds, e.Baud) {
				return fmt.Errorf("baud must be one of %s (got %q)", joined(Bauds), v)
			}
		case "parity":
			e.Parity = Parity(v)
			if !slices.Contains([]Parity{NoParity, EvenParity, OddParity}, e.Parity) {
				return fmt.Errorf("parity must be none, even or odd (got %q)", v)
			}
		case "bits":
			if v != "7" && v != "8" {
				return fmt.Errorf("bits must be 7 or 8 (got %q)", v)
			}
			e.Bits = int(v[0] - '0')
		case "rs485":
			if e.Scheme != Serial || v != "on" && v != "off" {
				return fmt.Errorf("rs485 must be on or off, and only a serial:// port has it (got %q)", v)
			}
			e.RS485 = v == "on"
		case "stop":
			if v != "1" && v != "2" {
				return fmt.Errorf("stop must be 1 or 2 (got %q)", v)
			}
			e.Stop = int(v[0] - '0')
		case "ids":
			return fmt.Errorf("ids is a setting of tcp:// only: serial frames carry no transaction id (got %q)", v)
		default:
			return fmt.Errorf("unknown setting %q: want baud, parity, bits, stop or rs485", key)
		}
	}
	return nil
}

// Key is equal for two endpoints exactly when they cannot be open at the same time.
func (e Endpoint) Key() string {
	if e.Scheme == Serial {
		return "serial " + e.Path
	}
	return "tcp " + e.Host
}

// rtuOverTCP is the other name of SerialOverTCP.
const rtuOverTCP = "rtu+tcp"

// Written is the scheme as it was written: rtu+tcp for a SerialOverTCP that was called so.
func (e Endpoint) Written() string {
	if e.RTU {
		return rtuOverTCP
	}
	return string(e.Scheme)
}

// String gives the URL that Parse reads back.
func (e Endpoint) String() string {
	switch e.Scheme {
	case Serial:
		text := fmt.Sprintf("serial://%s?baud=%d&parity=%s&bits=%d&stop=%d", e.Path, e.Baud, e.Parity, e.Bits, e.Stop)
		if e.RS485 {
			text += "&rs485=on"
		}
		return text
	case SerialOverTCP:
		if e.Baud != 0 {
			return fmt.Sprintf("%s://%s?baud=%d&parity=%s&bits=%d&stop=%d", e.Written(), e.Host, e.Baud, e.Parity,
				e.Bits, e.Stop)
		}
	}
	host := strings.TrimSuffix(e.Host, ":")
	if e.TolerantIDs {
		return fmt.Sprintf("%s://%s?ids=tolerant", e.Scheme, host)
	}
	return fmt.Sprintf("%s://%s", e.Written(), host)
}

// Simulated reports whether the endpoint can only be a simulator: a loopback address or a pseudo terminal. A link to a
// pseudo terminal that does not exist at the moment counts as well.
func (e Endpoint) Simulated() bool {
	if e.Scheme == Serial {
		path := e.Path
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		} else if target, err := os.Readlink(path); err == nil {
			path = filepath.Clean(target)
		}
		return strings.HasPrefix(path, "/dev/pts/")
	}
	host, _, err := net.SplitHostPort(e.Host)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Line returns what a link needs to know of the medium.
func (e Endpoint) Line(id string) drivers.Line {
	l := drivers.Line{ID: id, Stream: e.Scheme == TCP, Tunnel: e.Scheme == SerialOverTCP, TolerantIDs: e.TolerantIDs}
	if !l.Stream {
		l.Baud, l.CharLen = e.Baud, 1+e.Bits+e.Stop
		if e.Parity == EvenParity || e.Parity == OddParity {
			l.CharLen++
		}
	}
	return l
}

func joined(list []int) string {
	s := make([]string, len(list))
	for i, n := range list {
		s[i] = strconv.Itoa(n)
	}
	return strings.Join(s, ", ")
}
