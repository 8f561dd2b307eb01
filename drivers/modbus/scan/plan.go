package scan

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"bordo/drivers/line"
	"bordo/drivers/modbus"
)

// MaxHosts is how many addresses one scan asks: those of a /24.
const MaxHosts = 256

// maxUnit is the highest unit id of a serial line; TCP devices may have more, which are asked when a profile names them.
const maxUnit = 247

// usual are the serial settings that devices are delivered with, the most frequent first: they are tried where the profiles
// name no others.
const usual = "9600n1 19200n1 9600e1 19200e1 38400n1 38400e1 115200n1 57600n1 4800n1 2400n1 9600o1 9600n2 19200o1 19200n2 115200e1 1200n1"

// Settings are the settings of a serial line in the order in which a scan tries them: those that most profiles give as the
// maker's own first, then what else is usual.
func Settings(profiles []*modbus.Profile, path string) []line.Endpoint {
	votes := map[line.Endpoint]int{}
	var order []line.Endpoint
	add := func(text string, n int) {
		e, err := line.Parse("serial://" + path + "?" + text)
		if err != nil {
			return // a profile's settings that no serial port has
		}
		if _, ok := votes[e]; !ok {
			order = append(order, e)
		}
		votes[e] += n
	}
	for _, p := range profiles {
		if p.Serial {
			add(p.Bus, 1)
		}
	}
	for _, short := range strings.Fields(usual) {
		n := len(short)
		parity := map[byte]string{'n': "none", 'e': "even", 'o': "odd"}[short[n-2]]
		add(fmt.Sprintf("baud=%s&parity=%s&stop=%s", short[:n-2], parity, short[n-1:]), 0)
	}
	slices.SortStableFunc(order, func(a, b line.Endpoint) int { return cmp.Compare(votes[b], votes[a]) })
	return order
}

// Units are the unit ids of a line: first the likely ones, from the profiles and the lowest numbers, then the rest.
func Units(profiles []*modbus.Profile, stream bool) (likely, rest []int) {
	votes := map[int]int{}
	var order []int
	add := func(unit, n int) {
		if _, ok := votes[unit]; !ok {
			order = append(order, unit)
		}
		votes[unit] += n
	}
	for _, p := range profiles {
		if stream && !p.Stream || !stream && !p.Serial {
			continue
		}
		for i, u := range append([]int{p.Unit.Default}, p.Unit.Probe...) {
			if u > 0 && u <= maxUnit || stream {
				add(u, max(1, 3-i))
			}
		}
	}
	for u := 1; u <= 5; u++ {
		add(u, 1)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(votes[b], votes[a]) })
	for u := 1; u <= maxUnit; u++ {
		if _, ok := votes[u]; !ok {
			rest = append(rest, u)
		}
	}
	return order, rest
}

// Ports are the TCP ports that the profiles name, 502 first.
func Ports(profiles []*modbus.Profile) []int {
	ports := []int{502}
	for _, p := range profiles {
		if p.Stream && !slices.Contains(ports, p.TCPPort) && p.TCPPort != 0 {
			ports = append(ports, p.TCPPort)
		}
	}
	return ports
}

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
	Port  int // 0: the ports that the profiles name
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
	if _, err := line.Parse("tcp://" + net.JoinHostPort(host, cmp.Or(port, "502"))); err != nil {
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
