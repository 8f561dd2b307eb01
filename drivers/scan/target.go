package scan

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"bordo/drivers/line"
)

// MaxHosts is the maximum number of addresses of one scan: those of a /24.
const MaxHosts = 256

// ParseUnits reads "1-10,126": unit ids from 0 to 255.
func ParseUnits(text string) ([]int, error) {
	var units []int
	for part := range strings.SplitSeq(text, ",") {
		from, to, many := strings.Cut(strings.TrimSpace(part), "-")
		first, err1 := strconv.Atoi(from)
		last, err2 := first, error(nil)
		if many {
			last, err2 = strconv.Atoi(to)
		}
		if err1 != nil || err2 != nil || first < 0 || last > 255 || first > last {
			return nil, fmt.Errorf("must be numbers from 0 to 255, such as 1-10,126 (got %q)", part)
		}
		for u := first; u <= last; u++ {
			if !slices.Contains(units, u) {
				units = append(units, u)
			}
		}
	}
	return units, nil
}

// Target is where a scan over TCP looks.
type Target struct {
	Hosts []string
	Port  int // 0: the ports of the Scanner
}

// ParseTarget reads HOST, HOST:PORT or a network such as 192.168.1.0/24, of at most MaxHosts addresses.
func ParseTarget(text string) (Target, error) {
	if strings.Contains(text, "/") && !strings.Contains(text, "://") {
		return parseNetwork(text)
	}
	text = strings.TrimPrefix(text, "tcp://")
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.Trim(text, "[]"), ""
	}
	if _, err := line.Parse("tcp://" + net.JoinHostPort(host, port)); err != nil || host == "" {
		return Target{}, fmt.Errorf("must be HOST, HOST:PORT or a network such as 192.168.1.0/24 (got %q)", text)
	}
	t := Target{Hosts: []string{strings.ToLower(host)}}
	t.Port, _ = strconv.Atoi(port) // line.Parse has seen that it is a number
	return t, nil
}

func parseNetwork(text string) (Target, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return Target{}, fmt.Errorf("must be a network such as 192.168.1.0/24 (got %q)", text)
	}
	if bits := prefix.Addr().BitLen() - prefix.Bits(); bits > 8 {
		return Target{}, fmt.Errorf("must be a network of at most %d addresses: %s/%d or smaller (got %q)",
			MaxHosts, prefix.Addr(), prefix.Addr().BitLen()-8, text)
	}
	prefix = prefix.Masked()
	var t Target
	for a := prefix.Addr(); prefix.Contains(a); a = a.Next() {
		t.Hosts = append(t.Hosts, a.String())
	}
	if n := len(t.Hosts); prefix.Addr().Is4() && n > 2 {
		t.Hosts = t.Hosts[1 : n-1] // neither the network itself nor everybody in it
	}
	return t, nil
}
