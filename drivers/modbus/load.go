package modbus

import (
	"bordo/drivers/catalogue"
	"cmp"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Fault is a fault in a profile, with its position.
type Fault struct {
	File         string
	Line, Column int
	Path         string // points[3].type
	Text         string // what is wrong and what is allowed
}

// Error formats the fault as file:line:column: path: text.
func (f Fault) Error() string {
	where := fmt.Sprintf("%s:%d:%d: ", f.File, f.Line, f.Column)
	if f.Path != "" {
		where += f.Path + ": "
	}
	return where + f.Text
}

// Faults are all faults of a profile, in file order.
type Faults []Fault

// Error lists the faults, one per line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, x := range f {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

// maxProfile limits the size of a profile in bytes. The largest embedded one has about 20 kB.
const maxProfile = 1 << 20

// Load reads a profile. Keys are strict: unknown, duplicate and mistyped keys are faults, and so are values
// that no device can have. The error is a Faults; name is the file name in it.
func Load(name string, data []byte) (*Profile, error) {
	return load(name, data, loadOther, false)
}

// loadOther loads an embedded profile from which another one copies SunSpec models.
func loadOther(model string) (*Profile, error) {
	data, err := embedded.ReadFile(path.Join("profiles", model+".yaml"))
	if err != nil {
		return nil, err
	}
	return load("profiles/"+model+".yaml", data, nil, false)
}

// load is Load with a function that looks up the profile from which this one copies SunSpec models. If other
// is nil, the profile must have its own. lenient turns faults that earlier releases accepted into warnings.
func load(name string, data []byte, other func(model string) (*Profile, error), lenient bool) (*Profile, error) {
	if len(data) > maxProfile {
		return nil, Faults{{File: name, Line: 1, Column: 1,
			Text: fmt.Sprintf("must be at most %d bytes (got %d)", maxProfile, len(data))}}
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, Faults{syntaxFault(name, err)}
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, Faults{{File: name, Line: 1, Column: 1, Text: "must hold one profile"}}
	}
	var raw rawProfile
	unknown := unknownKeys(name, file.Docs[0].Body, reflect.TypeFor[rawProfile](), "")
	if err := yaml.NodeToValue(file.Docs[0].Body, &raw); err != nil {
		return nil, append(unknown, syntaxFault(name, err))
	}
	c := compiler{name: name, file: file, other: other, faults: unknown, lenient: lenient}
	p := c.profile(&raw)
	if len(c.faults) > 0 {
		slices.SortStableFunc(c.faults,
			func(a, b Fault) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
		return nil, c.faults
	}
	p.Warnings = c.warnings
	return p, nil
}

// syntaxFault converts an error of the YAML library into a Fault.
func syntaxFault(name string, err error) Fault {
	f := Fault{File: name, Line: 1, Column: 1, Text: err.Error()}
	var y yaml.Error
	if errors.As(err, &y) {
		f.Text = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			f.Line, f.Column = t.Position.Line, t.Position.Column
		}
	}
	var wrong *yaml.TypeError
	if errors.As(err, &wrong) {
		f.Text = fmt.Sprintf("must be %s", typeName(wrong.DstType))
	}
	f.Text, _, _ = strings.Cut(f.Text, "\n")
	return f
}

// typeName returns what a user must write for a value of type t.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "keys with values"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// compiler converts a rawProfile into a Profile and collects its faults.
type compiler struct {
	name   string
	file   *ast.File
	other  func(model string) (*Profile, error)
	faults Faults

	kind     catalogue.DeviceKind
	order    rawOrder
	na       map[Type][]uint64
	ranges   map[string][2]float64 // by unit, for points without their own range
	writing  bool                  // the field is written: a coil may then take a number, such as a pulse length
	relative bool                  // addresses are offsets from the id register of a SunSpec model
	lenient  bool                  // what older profiles may omit is a warning
	warnings Faults
}

// fault adds a fault at a path such as points[3].type. If the key is missing, its position is that of the
// enclosing key.
func (c *compiler) fault(path, format string, args ...any) {
	f := Fault{File: c.name, Line: 1, Column: 1, Path: path, Text: fmt.Sprintf(format, args...)}
	for at := path; at != ""; {
		if p, err := yaml.PathString("$." + at); err == nil {
			if node, err := p.FilterFile(c.file); err == nil && node != nil && node.GetToken() != nil {
				f.Line, f.Column = node.GetToken().Position.Line, node.GetToken().Position.Column
				break
			}
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	c.faults = append(c.faults, f)
}
