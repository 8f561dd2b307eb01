package main

import (
	"context"
	"flag"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bordo/drivers/line"
	"bordo/drivers/scan"
)

func scanCommand(l *langValue) command {
	return command{
		name:  "scan",
		brief: phrase("looks for devices and proposes their lines of the configuration").in(l),
		takes: phrase("tcp HOST[:PORT]|NETWORK | serial PATH").in(l),
		most:  2,
		complete: func(args []string) []string {
			if len(args) == 0 {
				return []string{"tcp", "serial"}
			}
			return nil
		},
		text: phrase(`Looks for Modbus devices: at an address, in a network of at most 256 addresses, or on a serial port, whose speed and
parity it finds out. What the running agent has is asked through it, between its polls. It only reads, and Ctrl-C
stops it. What it found stands on standard output as lines of the configuration; all else goes to standard error.

  bordo scan tcp 192.168.1.40
  bordo scan tcp 192.168.1.0/24
  bordo scan serial /dev/ttyUSB0
  bordo scan serial /dev/ttyUSB0 --add /etc/bordo/bordo.yaml

With --add it writes what it found into FILE: it shows the difference first, asks, keeps a copy, and writes nothing that
bordo check would refuse. On a serial port it stops at the first speed with which something answers, and says so.`).in(l),
		flags: func(set *flag.FlagSet) action {
			path := configFlag(set, l)
			langFlag(set, l)
			units := set.String("units", "", phrase("ask only these unit `IDS`, such as 1-10,126").in(l))
			asJSON := set.Bool("json", false, phrase("print everything as it happens, a JSON object a line").in(l))
			allSpeeds := set.Bool("all-speeds", false,
				phrase("look with every speed of a serial port, also once something has answered").in(l))
			add := set.String("add", "", phrase("write what is found into the configuration `FILE`").in(l))
			yes := set.Bool("yes", false, phrase("with --add: write without asking").in(l))
			return func(ctx context.Context, c console, operands []string) error {
				j, err := newJob(operands, *units)
				if err != nil {
					return err
				}
				j.allSpeeds = *allSpeeds
				if *add != "" {
					if *asJSON {
						return misused("scan", phrase("scan: --json and --add do not go together"))
					}
					if _, err := load(*add); err != nil { // before minutes of searching
						return err
					}
					*path, j.add = *add, &addition{file: *add, yes: *yes, ask: askTerminal}
				}
				ctx, stop := stoppable(ctx)
				defer stop()
				d, err := newClient(ctx, c, *path, false)
				if err != nil {
					return err
				}
				return runScan(ctx, c, d, j, l, *asJSON)
			}
		},
	}
}

// job is what one scan looks for.
type job struct {
	target *scan.Target // over TCP
	path   string       // of a serial port
	units  []int

	allSpeeds bool
	add       *addition // where to write the findings; nil: nowhere
}

func newJob(operands []string, units string) (j job, err error) {
	if len(operands) > 0 && operands[0] != "tcp" && operands[0] != "serial" {
		return j, misused("scan", phrase("scan: where? tcp HOST, or serial PATH (got %q)%v"), operands[0],
			meantPort(operands[0]))
	}
	if len(operands) < 2 {
		return j, misused("scan", phrase("scan: where? tcp HOST[:PORT], tcp NETWORK, or serial PATH%v"), foundPorts())
	}
	if units != "" {
		if j.units, err = scan.ParseUnits(units); err != nil {
			return j, misused("scan", phrase("scan: --units: %v"), err)
		}
	}
	if operands[0] == "tcp" {
		t, err := scan.ParseTarget(operands[1])
		if err != nil {
			return j, misused("scan", phrase("scan tcp: %v"), err)
		}
		j.target = &t
		return j, nil
	}
	e, err := line.Parse("serial://" + strings.TrimPrefix(operands[1], "serial://"))
	if err != nil {
		return j, misused("scan", phrase("scan serial: must be the full path of a port, such as /dev/ttyUSB0 (got %q)%v"), operands[1], foundPorts())
	}
	j.path = e.Path
	if slices.ContainsFunc(j.units, func(u int) bool { return u < 1 || u > 247 }) {
		return j, misused("scan", phrase("scan serial: --units: must be 1 to 247 on a serial line"))
	}
	return j, nil
}

// meantPort helps who left out the kind of line.
func meantPort(text string) localizedError {
	if strings.HasPrefix(text, "/dev/") {
		return phrase(": did you mean scan %s?").with("serial " + text)
	}
	if t, err := scan.ParseTarget(text); err == nil && strings.ContainsAny(text, ".:") && len(t.Hosts) > 0 {
		return phrase(": did you mean scan %s?").with("tcp " + text)
	}
	return phrase("").with()
}

// foundPorts lists the serial ports of this machine, those with a lasting name first.
func foundPorts() localizedError {
	var ports []string
	for _, pattern := range []string{"/dev/bordo/*", "/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*", "/dev/ttySC*"} {
		found, err := filepath.Glob(pattern)
		if err == nil {
			ports = append(ports, found...)
		}
	}
	if len(ports) == 0 {
		return phrase(" (no serial port is there: is the adapter plugged in?)").with()
	}
	list := strings.Join(ports, ", ")
	return phrase(" (serial ports: %s)").with(list)
}

// runScan scans and prints. After Ctrl-C it prints what was found so far.
func runScan(ctx context.Context, c console, d *client, j job, lang *langValue, asJSON bool) error {
	w := newWatcher(c, d, lang, asJSON)
	err := d.scan(ctx, j, w)
	w.bar.clear()
	if asJSON {
		return err
	}
	w.sum(j.add == nil || ctx.Err() != nil)
	if j.add != nil && ctx.Err() == nil && len(w.found) > 0 {
		return j.add.apply(ctx, c, d.propose(w.found).Parts, lang)
	}
	switch {
	case ctx.Err() != nil:
		return phrase("stopped: the rest was not looked for").fault()
	case err != nil && !w.told(err):
		return err
	case len(w.found) == 0 && len(w.through) > 0 && len(w.troubles) == 0:
		w.say(phrase("no other device").in(lang))
	case len(w.found) == 0:
		return phrase("no device found").fault()
	}
	return nil
}

// scan runs the job: on lines of the running agent through it, on all others with its own ports.
func (d *client) scan(ctx context.Context, j job, w *watcher) error {
	scanner, _ := only[scan.Scanner](d.drivers) // there is one: Modbus
	s := scan.Search{Units: j.units, AllSpeeds: j.allSpeeds, Say: w.take}
	if j.target == nil {
		if held := d.held(line.Endpoint{Scheme: line.Serial, Path: j.path}); held != nil {
			w.throughAgent(held)
			return d.scanThrough(ctx, held.ID, j, w)
		}
		w.began(j.path, len(scanner.SerialSettings(j.path)))
		return scanner.ScanSerial(ctx, lastingName(j.path), d.open, s)
	}
	rest := *j.target
	rest.Hosts = nil
	ports := []int{j.target.Port}
	if j.target.Port == 0 {
		ports = scanner.Ports()
	}
	for _, host := range j.target.Hosts {
		taken := false
		for _, port := range ports {
			e, err := line.Parse("tcp://" + net.JoinHostPort(host, strconv.Itoa(port)))
			if err != nil {
				return err
			}
			if held := d.held(e); held != nil {
				taken = true
				w.throughAgent(held)
				if err := d.scanThrough(ctx, held.ID, j, w); err != nil {
					return err
				}
			}
		}
		if !taken {
			rest.Hosts = append(rest.Hosts, host)
		}
	}
	if len(rest.Hosts) == 0 {
		return nil
	}
	return scanner.ScanTCP(ctx, rest, d.open, s)
}

// scanThrough lets the agent scan one of its lines.
func (d *client) scanThrough(ctx context.Context, id string, j job, w *watcher) error {
	return d.agent.Scan(ctx, id, j.units, func(e scan.Event) error {
		w.take(e)
		return nil
	})
}

// lastingName gives a port the name that it keeps, where the rules of udev make one (packaging/61-bordo.rules).
func lastingName(path string) string {
	names, err := filepath.Glob("/dev/bordo/*")
	if err != nil || strings.HasPrefix(path, "/dev/bordo/") {
		return path
	}
	for _, name := range names {
		if realPath(name) == realPath(path) {
			return name
		}
	}
	return path
}

// known names the configured device that was found.
func (d *client) known(f *scan.Found) string {
	if d.cfg == nil {
		return ""
	}
	for _, l := range d.cfg.Lines {
		if e, err := line.Parse(f.Port); err != nil || !sameEndpoint(e, l.Endpoint) || e.Baud != l.Endpoint.Baud ||
			e.Parity != l.Endpoint.Parity {
			continue
		}
		for _, dev := range l.Devices {
			if dev.Unit == f.Unit {
				return dev.ID
			}
		}
	}
	return ""
}

// propose returns what the configuration lacks of the findings. A port that it has under another name keeps that name.
func (d *client) propose(found []scan.Found) scan.Proposal {
	t := scan.Taken{Ports: map[string]string{}, Buses: map[string]string{}}
	if d.cfg == nil {
		return scan.Propose(found, t)
	}
	found = slices.Clone(found)
	for _, l := range d.cfg.Lines {
		t.Lines = append(t.Lines, l.ID)
		t.Ports[l.Endpoint.Key()] = l.ID
		if l.Endpoint.Scheme == line.Serial {
			_, t.Buses[l.Endpoint.Key()], _ = strings.Cut(l.Endpoint.String(), "?")
		}
		for _, dev := range l.Devices {
			t.Devices = append(t.Devices, dev.ID)
		}
		for i := range found {
			if e, err := line.Parse(found[i].Port); err == nil && e.Scheme == line.Serial &&
				sameEndpoint(e, l.Endpoint) {
				e.Path = l.Endpoint.Path
				found[i].Port = e.String()
			}
		}
	}
	return scan.Propose(found, t)
}
