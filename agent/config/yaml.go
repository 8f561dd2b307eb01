package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"bordo/drivers/nearest"

	"bordo/drivers"
)

// maxDepth is the maximum nesting of brackets, and of dashes in one line. The format needs four levels. The parser
// recurses once per level and would end the process when its stack is full.
const maxDepth = 32

// maxTokens is the maximum number of tokens of a file: a thousand devices have 20,000. The parser's time grows with the
// square of the keys of one mapping.
const maxTokens = 1 << 16

// reader walks the tree of one file and collects its faults.
type reader struct {
	file     string
	wordBits int // of this machine's int: 32 or 64
	drivers  []drivers.Driver
	models   models // of drivers
	partial  bool   // not all models are known, because those of the site have faults
	faults   Faults
	warnings Faults
	left     Faults // remaining placeholders
	places   map[string]Place
}

func (r *reader) fault(at Place, path, format string, args ...any) {
	r.faults = append(r.faults, Fault{File: r.file, Place: at, Path: path, What: fmt.Sprintf(format, args...)})
}

// faultIn reports a fault in both languages.
func (r *reader) faultIn(at Place, path, en, it string) {
	r.faults = append(r.faults, Fault{File: r.file, Place: at, Path: path, What: en, It: it})
}

func (r *reader) warn(at Place, path, format string, args ...any) {
	r.warnings = append(r.warnings, Fault{File: r.file, Place: at, Path: path, What: fmt.Sprintf(format, args...)})
}

// warnIn warns in both languages.
func (r *reader) warnIn(v value, en, it string) {
	r.warnings = append(r.warnings, Fault{File: r.file, Place: v.at, Path: v.path, What: en, It: it})
}

// here formats a position, for a fault about another one.
func (r *reader) here(at Place) string { return fmt.Sprintf("%s:%d:%d", r.file, at.Line, at.Column) }

// open turns the text into the value of the whole file. It is false after a fault that leaves nothing to look at.
func (r *reader) open(text []byte) (value, bool) {
	if len(text) > MaxFile {
		r.fault(Place{1, 1}, "", "the file is larger than 1 MiB: not a configuration")
		return value{}, false
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !r.readable(text) {
		return value{}, false
	}
	file, err := r.parse(text)
	if err != nil {
		r.notYAML(text, err)
	}
	if len(r.faults) > 0 {
		return value{}, false
	}
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch {
	case len(bodies) == 0:
		r.faultIn(Place{1, 1}, "", "the file is empty", "il file è vuoto")
		return value{}, false
	case len(bodies) > 1:
		r.fault(startOf(bodies[1]), "", "the file holds a second document: one file is one configuration")
		return value{}, false
	}
	return value{r: r, node: bodies[0], at: Place{1, 1}, key: Place{1, 1}}, true
}

// notYAML reports why a text cannot be parsed: the likely error in its lines, or else the parser's message.
func (r *reader) notYAML(text []byte, err error) {
	slips := lint(string(text))
	for _, s := range slips {
		r.faultIn(s.at, "", s.en, s.it)
	}
	if len(slips) > 0 {
		return
	}
	at, what := Place{1, 1}, err.Error()
	if e, ok := errors.AsType[yaml.Error](err); ok {
		at, what = placeOf(e.GetToken()), e.GetMessage()
	}
	en, it := plainWords(what)
	r.faultIn(at, "", en, it)
}

// explain adds typing errors to the faults that they caused. It removes other faults of the same line, because the line
// is not what was meant. Where the text is not even a list of keys, every typing error is reported.
func (r *reader) explain(text []byte, root value) {
	_, keys := root.node.(*ast.MappingNode)
	_, key := root.node.(*ast.MappingValueNode)
	slips := slices.DeleteFunc(lint(string(text)), func(s slip) bool { return !s.typo && (keys || key) })
	for _, s := range slips {
		r.faults = slices.DeleteFunc(r.faults, func(f Fault) bool { return f.Line == s.at.Line })
	}
	for _, s := range slips {
		r.faultIn(s.at, "", s.en, s.it)
	}
}

// readable reports what the parser would refuse in unhelpful words, or not survive.
func (r *reader) readable(text []byte) bool {
	if bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}) {
		r.faultIn(Place{1, 1}, "", `the file is in UTF-16 ("Unicode" in Windows): save the file as UTF-8`,
			`il file è in UTF-16 ("Unicode" in Windows): salvarlo come UTF-8`)
		return false
	}
	n := 0
	for l := range bytes.Lines(text) {
		n++
		if !utf8.Valid(l) {
			column := 1
			for rest := l; ; column++ {
				c, size := utf8.DecodeRune(rest)
				if c == utf8.RuneError && size <= 1 {
					r.faultIn(Place{n, column}, "", fmt.Sprintf("the file is not UTF-8 (byte 0x%02X): save the file as UTF-8", rest[0]),
						fmt.Sprintf("il file non è in UTF-8 (byte 0x%02X): salvarlo come UTF-8", rest[0]))
					return false
				}
				rest = rest[size:]
			}
		}
		bare := bytes.TrimLeft(l, " \t")
		if tab := bytes.IndexByte(l[:len(l)-len(bare)], '\t'); tab >= 0 && len(bytes.TrimSpace(bare)) > 0 {
			r.faultIn(Place{n, tab + 1}, "", "a tab in the indentation: indent with spaces", "una tabulazione nel rientro: usare spazi")
			return false
		}
	}
	return true
}

// parse returns the tree, or reports faults if the text uses what the dialect excludes. It survives a parser that
// panics.
func (r *reader) parse(text []byte) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the parser gives up on this text (%v)", p)
		}
	}()
	tokens := lexer.Tokenize(bare(text))
	if len(tokens) > maxTokens {
		r.fault(placeOf(tokens[maxTokens]), "", "the file goes on for too long to be a configuration")
		return nil, nil
	}
	if bad := tokens.InvalidToken(); bad == nil {
		r.dialect(tokens)
		if len(r.faults) > 0 {
			return nil, nil
		}
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// bare removes the blanks at the ends of lines. They mean nothing here, but the lexer shifts a value to the right by
// their number, and counts some Windows line ends twice.
func bare(text []byte) string {
	var b strings.Builder
	b.Grow(len(text))
	for l := range bytes.Lines(text) {
		b.Write(bytes.TrimRight(l, " \t\r\n"))
		if l[len(l)-1] == '\n' {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// dialect looks for what YAML knows and this format does not.
func (r *reader) dialect(tokens token.Tokens) {
	depth, dashes, row := 0, 0, 0
	for _, t := range tokens {
		at := placeOf(t)
		if at.Line != row {
			dashes, row = 0, at.Line
		}
		switch t.Type {
		case token.AnchorType, token.AliasType:
			r.fault(at, "", "anchors and aliases are not known here: write the value itself, in quotes if it begins with %s", t.Value)
		case token.TagType:
			r.fault(at, "", "tags are not known here: write the value itself, in quotes if it begins with !")
		case token.MergeKeyType:
			r.fault(at, "", "merge keys are not known here: write the keys themselves")
		case token.MappingKeyType:
			r.fault(at, "", "a key must be a word with a colon after it (got ?)")
		case token.DirectiveType:
			r.fault(at, "", "directives are not known here: leave the line out")
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			dashes++
		}
		if depth > maxDepth || dashes > maxDepth {
			r.fault(at, "", "nested too deeply")
			return
		}
	}
}

func placeOf(t *token.Token) Place {
	if t == nil || t.Position == nil {
		return Place{1, 1}
	}
	return Place{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// startOf is where a node begins. The token of a block mapping is the colon of its first pair.
func startOf(n ast.Node) Place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return startOf(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return startOf(n.Key)
	}
	return placeOf(n.GetToken())
}

// value is a node of the tree and its position. The value of a missing key has no node.
type value struct {
	r    *reader
	node ast.Node
	path string
	at   Place // of the value itself
	key  Place // of its key, or of the value where it has none
}

func (v value) given() bool { return v.node != nil }

func (v value) fault(format string, args ...any) { v.r.fault(v.at, v.path, format, args...) }

func (v value) warn(format string, args ...any) { v.r.warn(v.at, v.path, format, args...) }

// child is a node below v.
func (v value) child(path string, key Place, n ast.Node) value {
	return value{r: v.r, node: n, path: path, at: startOf(n), key: key}
}

// filled reports whether the value is not empty, and reports a fault if it is.
func (v value) filled() bool {
	if _, empty := v.node.(*ast.NullNode); empty {
		v.fault("has no value")
		return false
	}
	return true
}

// kind names what a node is, for a person.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	}
	return got(scalarOf(n))
}

// list gives the elements of a list, at most limit of them; an absent one has none.
func (v value) list(limit int) []value {
	if !v.given() || !v.filled() {
		return nil
	}
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		v.fault("must be a list (got %s)", kind(v.node))
		return nil
	}
	nodes := n.Values
	if len(nodes) > limit {
		v.fault("must have at most %d elements (got %d)", limit, len(nodes))
		nodes = nodes[:limit]
	}
	out := make([]value, len(nodes))
	for i, e := range nodes {
		out[i] = v.child(fmt.Sprintf("%s[%d]", v.path, i), startOf(e), e)
	}
	return out
}

// mapping is a value that has keys.
type mapping struct {
	value
	entries map[string]value
	order   []string
	known   []string // the allowed keys: those that were read
}

// keys returns the keys of a mapping. It returns false, with a fault reported, when v is something else.
func (v value) keys() (*mapping, bool) {
	m := &mapping{value: v, entries: map[string]value{}}
	if !v.given() || !v.filled() {
		return m, false
	}
	var pairs []*ast.MappingValueNode
	switch n := v.node.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		v.fault("must be keys with values (got %s)", kind(v.node))
		return m, false
	}
	for _, p := range pairs {
		m.add(p)
	}
	return m, true
}

func (m *mapping) add(p *ast.MappingValueNode) {
	at := startOf(p.Key)
	var name string
	switch k := p.Key.(type) {
	case *ast.StringNode:
		name = k.Value
	case ast.ScalarNode:
		name = scalarOf(k).text
	default:
		m.r.fault(at, m.path, "a key must be a word")
		return
	}
	if first, twice := m.entries[name]; twice {
		m.twice(name, at, first)
		return
	}
	m.entries[name] = m.child(m.join(name), at, p.Value)
	m.order = append(m.order, name)
}

// twice reports a repeated key.
func (m *mapping) twice(name string, at Place, first value) {
	en, it := fmt.Sprintf("is given twice (first at %s)", m.r.here(first.key)), fmt.Sprintf("c'è due volte (la prima a %s)", m.r.here(first.key))
	_, list := first.node.(*ast.SequenceNode)
	switch {
	case m.path == "" && (list || name == "lines"):
		en += fmt.Sprintf(": keep one %s: and put the elements of both, which begin with -, one below the other under it", name)
		it += fmt.Sprintf(": lasciare un solo %s: e mettere sotto, uno dopo l'altro, gli elementi di tutti e due (quelli che cominciano con -)", name)
	case m.path == "" && !isScalar(first.node):
		en += ": keep one of them, with the keys of both"
		it += ": lasciarne uno solo, con le chiavi di tutti e due"
	}
	m.r.faultIn(at, m.join(name), en, it)
}

func isScalar(n ast.Node) bool {
	_, ok := n.(ast.ScalarNode)
	return ok
}

// join makes the path of a key. A key is the file's own text, so it is shortened and quoted where it is no plain word.
func (m *mapping) join(name string) string {
	if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == '.' || c == 0x7f || c > 0x7e }) {
		name = quote(name)
	}
	if m.path == "" {
		return clip(name)
	}
	return m.path + "." + clip(name)
}

// get gives the value of an optional key.
func (m *mapping) get(name string) value {
	m.known = append(m.known, name)
	if v, ok := m.entries[name]; ok {
		return v
	}
	return value{r: m.r, path: m.join(name), at: m.key, key: m.key}
}

// need gives the value of a key that must be there.
func (m *mapping) need(name, example string) value {
	v := m.get(name)
	if !v.given() {
		v.fault("is missing: %s", example)
	}
	return v
}

// end reports the keys that were not read.
func (m *mapping) end() {
	for _, name := range m.order {
		if slices.Contains(m.known, name) {
			continue
		}
		v := m.entries[name]
		if en, it := m.decimalComma(name); en != "" {
			before := m.entries[m.order[slices.Index(m.order, name)-1]]
			m.r.faults = slices.DeleteFunc(m.r.faults, func(f Fault) bool { return f.Path == before.path }) // about half of the number
			m.r.faultIn(v.key, v.path, en, it)
		} else if near := nearest.Names(name, m.known, 1); len(near) > 0 {
			m.r.fault(v.key, v.path, "unknown key (did you mean %s?)", near[0])
		} else {
			m.r.fault(v.key, v.path, "unknown key (known here: %s)", strings.Join(m.known, ", "))
		}
	}
}

// afterComma matches the part after the comma of a number in Italian notation.
var afterComma = regexp.MustCompile(`^[0-9]+[a-zA-Z/]*$`)

// decimalComma recognises a key that is the rest of a number with a comma: in braces the comma ends a value. It returns
// what to write, in both languages.
func (m *mapping) decimalComma(name string) (en, it string) {
	i := slices.Index(m.order, name)
	if i < 1 || !afterComma.MatchString(name) {
		return "", ""
	}
	if _, null := m.entries[name].node.(*ast.NullNode); !null {
		return "", ""
	}
	key := m.order[i-1]
	s, ok := scalarIn(m.entries[key])
	if !ok || s.form != number {
		return "", ""
	}
	return pointWords(key+": ", s.text+"."+name)
}

// pointWords says how to write a number with decimals.
func pointWords(key, n string) (en, it string) {
	return fmt.Sprintf("decimals follow a point, not a comma: write %s%s", key, n), fmt.Sprintf("i decimali vanno dopo un punto, non una virgola: scrivere %s%s", key, n)
}

// scalarIn gives the single value that v holds; false when it is a list, a mapping or nothing.
func scalarIn(v value) (scalar, bool) {
	if !v.given() {
		return scalar{}, false
	}
	s := scalarOf(v.node)
	return s, s.form != nothing
}
