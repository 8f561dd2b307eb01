package bordo_test

import (
	"fmt"
	"go/ast"
	"iter"
	"maps"
	"slices"
	"strings"
)

// below lists, for each tree of ours, what its product code may import of ours besides itself. Arrows point down only:
// drivers knows no MQTT and no store, buffer knows no reading, contract knows neither.
var below = map[string][]string{
	"cmd":            {"agent", "sim", "contract", "drivers", "buffer", "firmware-notes"},
	"agent":          {"contract", "drivers", "buffer", "firmware-notes"},
	"sim":            {"contract", "drivers"},
	"drivers":        {},
	"buffer":         {},
	"contract":       {},
	"firmware-notes": {},
}

// belowInTests is what tests may import besides: agent and sim are tested against each other, and the notes are tied to
// the profiles and the simulated faults.
var belowInTests = map[string][]string{
	"agent":          {"sim"},
	"sim":            {"agent", "buffer"},
	"firmware-notes": {"drivers", "sim"},
	".":              {"agent", "contract", "drivers", "buffer", "firmware-notes", "sim"},
}

func importDirection(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		from := top(p.dir)
		allowed, known := below[from]
		if !known && from != "." {
			complaints = append(complaints, fmt.Sprintf("%s: %s is not a tree of the layout", p.dir, from))
			continue
		}
		for _, s := range p.files {
			for _, name := range s.imports {
				dir, ours := local(name)
				to := top(dir)
				if !ours || to == from || slices.Contains(allowed, to) || s.test &&
					slices.Contains(belowInTests[from], to) {
					continue
				}
				complaints = append(complaints,
					fmt.Sprintf("%s: imports %s, and %s may not know %s", s.path, name, from, to))
			}
		}
	}
	return complaints
}

// rooms says what the product code of each package of agent and drivers may import of its own tree. A package that is not
// listed may import nothing of it. In agent the arrows run from the transports over the api and the wiring to the rooms below,
// which do not know each other except where it stands here. In drivers a protocol knows the contract, the catalogue and the
// ports, and no other protocol.
var rooms = map[string][]string{
	"agent/control": {"agent/api"},
	"agent/api":     {"agent", "agent/archive", "agent/config", "agent/energy"},
	"agent": {"agent/archive", "agent/clock", "agent/config", "agent/energy", "agent/health", "agent/loglimit",
		"agent/owner", "agent/phases",
		"agent/record", "agent/statefile", "agent/uplink"},
	"agent/uplink": {"agent/clock", "agent/config", "agent/health", "agent/inflight", "agent/loglimit", "agent/mqtt",
		"agent/record"},
	"agent/archive": {"agent/record"},
	"agent/clock":   {"agent/record"},

	"drivers/all":         {"drivers", "drivers/*"},
	"drivers/driverstest": {"drivers", "drivers/catalogue"},
	"drivers/line":        {"drivers"},
	"drivers/scan":        {"drivers", "drivers/catalogue", "drivers/line"},
	"drivers":             {"drivers/catalogue"},
	// a protocol, and the packages below it
	"drivers/*": {"drivers", "drivers/catalogue", "drivers/line", "drivers/nearest", "drivers/pseudonym",
		"drivers/scan"},
}

// shared are the packages of drivers that are no protocol.
var shared = []string{"drivers/all", "drivers/catalogue", "drivers/driverstest", "drivers/line", "drivers/nearest",
	"drivers/pseudonym", "drivers/scan"}

// protocol returns the package of the protocol that a directory belongs to, "" when it belongs to none.
func protocol(dir string) string {
	name, ok := strings.CutPrefix(dir, "drivers/")
	if !ok || slices.Contains(shared, dir) {
		return ""
	}
	name, _, _ = strings.Cut(name, "/")
	return "drivers/" + name
}

func roomDirection(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		if top(p.dir) != "agent" && top(p.dir) != "drivers" {
			continue
		}
		allowed, listed := rooms[p.dir]
		own := protocol(p.dir)
		if !listed && own != "" {
			allowed = rooms["drivers/*"]
		}
		for _, s := range p.product() {
			for _, name := range s.imports {
				to, ours := local(name)
				if !ours || top(to) != top(p.dir) || slices.Contains(allowed, to) || own != "" && protocol(to) == own ||
					slices.Contains(allowed, "drivers/*") && protocol(to) != "" {
					continue
				}
				complaints = append(complaints,
					fmt.Sprintf("%s: imports %s, which %s may not know (the table of rooms in arch_imports_test.go)",
						s.path, name, p.dir))
			}
		}
	}
	return complaints
}

// knowProtocols are the trees whose product code may name a protocol: the drivers themselves, and the simulator, which plays
// the devices. All others reach them by drivers/all and the interfaces of drivers.
var knowProtocols = []string{"drivers", "sim", "cmd/bordo-sim"}

func protocolsByInterface(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		if slices.ContainsFunc(knowProtocols, func(dir string) bool { return within(p.dir, dir) }) {
			continue
		}
		for _, s := range p.product() {
			for _, name := range s.imports {
				if dir, ours := local(name); ours && protocol(dir) != "" {
					complaints = append(complaints,
						fmt.Sprintf("%s: imports %s, and only %s may know a protocol by name", s.path, name,
							strings.Join(knowProtocols, ", ")))
				}
			}
		}
	}
	return complaints
}

// owners lists every module that product code may import, and the directories that may: one place speaks MQTT, one knows
// the store, one opens serial ports. Tests may use any module of go.mod.
var owners = map[string][]string{
	"github.com/eclipse/paho.mqtt.golang": {"agent/mqtt", "sim", "cmd/bordo-sim"},
	"github.com/dgraph-io/badger/v4":      {"buffer"},
	"github.com/dgraph-io/ristretto/v2":   {"buffer"},
	"google.golang.org/protobuf":          {"buffer"},
	"github.com/goburrow/modbus":          {"drivers/modbus"},
	"github.com/tarm/serial":              {"drivers/line"},
	"github.com/goccy/go-yaml":            {"agent/config", "drivers/modbus", "sim", "firmware-notes"},
	"github.com/klauspost/compress":       {"buffer", "agent"},
	"github.com/mochi-mqtt/server/v2":     {"sim"},
	"github.com/creack/pty":               {"sim"},
	"github.com/nathan-osman/go-sunrise":  {"agent"},
	"golang.org/x/sys":                    {"drivers/line", "buffer", "agent", "sim", "cmd"},
	"golang.org/x/term":                   {"cmd", "sim"},
	"github.com/coreos/go-systemd/v22":    {"cmd/bordo"},
	"github.com/chai2010/gettext-go":      {"cmd/locale"},
	"github.com/spf13/cobra":              {"cmd/commandline"},
	"github.com/spf13/pflag":              {"cmd/commandline"},

	"github.com/santhosh-tekuri/jsonschema/v6": {"contract/schema"},
}

func moduleOwners(t *tree) []string {
	var complaints []string
	for _, p := range t.sorted() {
		for _, s := range p.product() {
			for _, name := range s.imports {
				if _, ours := local(name); ours || !strings.Contains(strings.Split(name, "/")[0], ".") {
					continue
				}
				owner := ""
				for _, m := range slices.Sorted(maps.Keys(owners)) {
					if name == m || strings.HasPrefix(name, m+"/") {
						owner = m
					}
				}
				switch {
				case owner == "":
					complaints = append(complaints,
						fmt.Sprintf("%s: imports %s, which no decision allows (docs/adr)", s.path, name))
				case !slices.ContainsFunc(owners[owner], func(dir string) bool { return within(p.dir, dir) }):
					complaints = append(complaints,
						fmt.Sprintf("%s: imports %s, which belongs to %s", s.path, name,
							strings.Join(owners[owner], ", ")))
				}
			}
		}
	}
	return complaints
}

func within(dir, tree string) bool { return dir == tree || strings.HasPrefix(dir, tree+"/") }

// toolOfTests tells whether an import is for tests and simulations alone.
func toolOfTests(name string) bool {
	for _, banned := range []string{"github.com/mochi-mqtt/", "github.com/creack/pty", "pgregory.net/rapid",
		"go.uber.org/goleak", "golang.org/x/tools/"} {
		if strings.HasPrefix(name, banned) {
			return true
		}
	}
	dir, ours := local(name)
	return name == "testing" || ours && (top(dir) == "sim" || dir == "drivers/driverstest" ||
		dir == "contract/foreign" ||
		within(dir, "drivers") && strings.Contains(dir+"/", "/slave/"))
}

// unwanted tells, for a program, whether an import must not be linked into it.
var unwanted = map[string]func(name string) bool{
	"cmd/bordo": func(name string) bool {
		return toolOfTests(name) || strings.HasPrefix(name, "github.com/santhosh-tekuri/jsonschema/")
	},
	// The centre's tool works from the contract alone: it has neither the agent nor its store in it.
	"cmd/bordoctl": func(name string) bool {
		dir, ours := local(name)
		return toolOfTests(name) || strings.HasPrefix(name, "github.com/dgraph-io/") || ours &&
			(dir == "agent" || top(dir) == "buffer")
	},
}

// notLinked walks what each program links, for every target, and names the way to whatever must not be in it.
func notLinked(t *tree) []string {
	var complaints []string
	for program, foreign := range unwanted {
		for _, arch := range architectures {
			way := map[string]string{program: program}
			for queue := []string{program}; len(queue) > 0; queue = queue[1:] {
				p := t.packages[queue[0]]
				if p == nil {
					continue
				}
				for name := range p.imported(arch) {
					if foreign(name) {
						complaints = append(complaints, fmt.Sprintf("%s > %s", way[p.dir], name))
						continue
					}
					if dir, ours := local(name); ours && way[dir] == "" {
						way[dir] = way[p.dir] + " > " + dir
						queue = append(queue, dir)
					}
				}
			}
		}
	}
	slices.Sort(complaints)
	return slices.Compact(complaints)
}

// imported are the imports of a package's product files for a target, in order.
func (p *pkg) imported(arch string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, s := range p.product() {
			for _, name := range s.imports {
				if slices.Contains(s.targets, arch) && !yield(name) {
					return
				}
			}
		}
	}
}

// required pins the four modules that the project is built on. Their newest versions are not always their best ones:
// docs/adr tells why each stands where it stands.
var required = map[string]string{
	"github.com/eclipse/paho.mqtt.golang": "v1.5.1",
	"github.com/goburrow/modbus":          "v0.1.0",
	"github.com/tarm/serial":              "v0.0.0-20180830185346-98f6abe2eb07",
	"github.com/dgraph-io/badger/v4":      "v4.9.6",
}

func requiredVersions(t *tree) []string {
	var complaints []string
	have := requirements(t)
	for _, m := range slices.Sorted(maps.Keys(required)) {
		if have[m] != required[m] {
			complaints = append(complaints, fmt.Sprintf("go.mod: %s must be %s (got %q)", m, required[m], have[m]))
		}
	}
	return complaints
}

// requirements reads the module versions out of go.mod.
func requirements(t *tree) map[string]string {
	have := map[string]string{}
	for line := range strings.Lines(string(t.files["go.mod"])) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && strings.Contains(fields[0], ".") && strings.HasPrefix(fields[1], "v") {
			have[fields[0]] = fields[1]
		}
	}
	return have
}

// driversTested wants every driver that is built in to go through a suite for drivers: the one for polled devices, or the one
// for those that speak unasked.
func driversTested(t *tree) []string {
	var complaints []string
	for _, s := range t.packages["drivers/all"].product() {
		for _, name := range s.imports {
			dir, ours := local(name)
			if !ours || dir == "drivers" {
				continue
			}
			ran := false
			for _, p := range t.sorted() { // the driver may be a layer upon the package that has the protocol
				if p.dir != dir && protocol(p.dir) != protocol(dir) {
					continue
				}
				for _, f := range p.files {
					calls(f, func(_ *ast.CallExpr, name string) {
						ran = ran || f.test && (name == "driverstest.Run" || name == "driverstest.Listener")
					})
				}
			}
			if !ran {
				complaints = append(complaints,
					fmt.Sprintf("%s: is in drivers/all and no test of it calls driverstest.Run or driverstest.Listener",
						dir))
			}
		}
	}
	return complaints
}
