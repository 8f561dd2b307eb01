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

// Fault is something wrong with a profile, with its place.
type Fault struct {
	File         string
	Line, Column int
	Path         string // points[3].type
	Text         string // what is wrong and what is allowed
}

// Error gives the fault as file:line:column: path: text.
func (f Fault) Error() string {
	where := fmt.Sprintf("%s:%d:%d: ", f.File, f.Line, f.Column)
	if f.Path != "" {
		where += f.Path + ": "
	}
	return where + f.Text
}

// Faults are all the faults of a profile, in the order of the file.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, x := range f {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

// maxProfile bounds a profile's size: the largest of ours has some 20 kB.
const maxProfile = 1 << 20

// Load reads a profile. Keys are strict: what is misspelt, twice or of the wrong type is a fault, as is what the device
// could not have. The error is a Faults. name is the file's name as it stands in the faults.
func Load(name string, data []byte) (*Profile, error) {
	return load(name, data, loadOther, false)
}

// loadOther reads an embedded profile that another one takes its SunSpec models from.
func loadOther(model string) (*Profile, error) {
	data, err := embedded.ReadFile(path.Join("profiles", model+".yaml"))
	if err != nil {
		return nil, err
	}
	return load("profiles/"+model+".yaml", data, nil, false)
}

// load is Load with a way to look up the profile that this one takes its SunSpec models from; nil: it must have its own.
// lenient takes what was correct before this release, with a warning.
func load(name string, data []byte, other func(model string) (*Profile, error), lenient bool) (*Profile, error) {
	if len(data) > maxProfile {
		return nil, Faults{{File: name, Line: 1, Column: 1, Text: fmt.Sprintf("must be at most %d bytes (got %d)", maxProfile, len(data))}}
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
		slices.SortStableFunc(c.faults, func(a, b Fault) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
		return nil, c.faults
	}
	p.Warnings = c.warnings
	return p, nil
}

// syntaxFault turns an error of the YAML library into a Fault.
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

// typeName says what a person has to write.
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

// compiler turns a rawProfile into a Profile and collects what is wrong with it.
type compiler struct {
	name   string
	file   *ast.File
	other  func(model string) (*Profile, error)
	faults Faults

	kind     catalogue.DeviceKind
	order    rawOrder
	na       map[Type][]uint64
	ranges   map[string][2]float64 // by unit, of points that have none of their own
	writing  bool                  // a field is written: a coil may take a number, such as the length of a pulse
	relative bool                  // addresses count from the id register of a SunSpec model
	lenient  bool                  // what older profiles may lack is a warning
	warnings Faults
}

// fault notes something wrong at a path such as points[3].type. Where a key is missing, the place is that of what
// should have held it.
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
