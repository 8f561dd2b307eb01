package onsite

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bordo/drivers/line"
	"bordo/drivers/modbus"
)

// maxUnit is the highest unit id on a serial line. TCP devices may have higher ones, which are probed if a
// profile lists them.
const maxUnit = 247

// usual are common factory serial settings, the most frequent first. They are tried after those of the
// profiles.
const usual = "9600n1 19200n1 9600e1 19200e1 38400n1 38400e1 115200n1 57600n1 " +
	"4800n1 2400n1 9600o1 9600n2 19200o1 19200n2 115200e1 1200n1"

// settingsOf returns serial settings in the order in which a scan tries them: first the factory settings in
// the profiles, the most frequent first, then the other usual ones.
func settingsOf(profiles []*modbus.Profile, path string) []line.Endpoint {
	votes := map[line.Endpoint]int{}
	var order []line.Endpoint
	add := func(text string, n int) {
		e, err := line.Parse("serial://" + path + "?" + text)
		if err != nil {
			return // not a valid serial setting
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

// unitsOf returns unit ids to probe: the likely ones (from the profiles, and the lowest numbers), then the
// rest.
func unitsOf(profiles []*modbus.Profile, stream bool) (likely, rest []int) {
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

// portsOf returns the TCP ports in the profiles, with the standard port first.
func portsOf(profiles []*modbus.Profile) []int {
	ports := []int{modbus.TCPPort}
	for _, p := range profiles {
		if p.Stream && !slices.Contains(ports, p.TCPPort) && p.TCPPort != 0 {
			ports = append(ports, p.TCPPort)
		}
	}
	return ports
}
