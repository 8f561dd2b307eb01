package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Addition is a line to be added to a configuration, or devices for a line that it has.
type Addition struct {
	Line     string   // the id of a line that the file has; "" adds a new one
	ID, Port string   // of a new line
	Entries  []string // devices as "- {…}", and remarks, which begin with #
	Remark   bool     // the whole becomes a remark
}

// ErrByHand is matched by the error of Add for a text whose shape leaves no place to write to.
var ErrByHand = errors.New("this file has to be changed by hand")

// Add writes an addition into the text of a configuration and leaves the rest unchanged: comments, blanks, line ends.
// Parse the result before using it.
func Add(text []byte, a Addition) ([]byte, error) {
	mark := []byte(byteOrderMark)
	body, marked := bytes.CutPrefix(text, mark)
	e := editor{eol: "\n", lines: strings.SplitAfter(string(body), "\n")}
	if strings.Contains(string(body), "\r\n") {
		e.eol = "\r\n"
	}
	if last := len(e.lines) - 1; e.lines[last] == "" {
		e.lines = e.lines[:last]
	}
	r := &reader{file: "configuration"}
	root, ok := r.open(body)
	if !ok {
		return nil, r.faults.sorted()
	}
	m, ok := root.keys()
	if !ok {
		return nil, ErrByHand
	}
	if err := e.add(m, a); err != nil {
		return nil, err
	}
	out := []byte(strings.Join(e.lines, ""))
	if marked {
		out = append(mark, out...)
	}
	return out, nil
}

// editor changes a text line by line.
type editor struct {
	lines []string // each with its end
	eol   string
}

func (e *editor) add(root *mapping, a Addition) error {
	lines := root.get("lines")
	if a.Line != "" {
		devices, err := devicesOf(lines, a.Line)
		if err != nil {
			return err
		}
		return e.extend(devices, remarks(a.Entries, a.Remark), flow(a.Entries, a.Remark))
	}
	block := append([]string{"- id: " + a.ID, "  port: " + a.Port, "  devices:"}, indent(a.Entries, "    ")...)
	inBraces := fmt.Sprintf("{id: %s, port: %q, devices: [%s]}", a.ID, a.Port, flow(a.Entries, false))
	if a.Remark {
		inBraces = ""
	}
	if !lines.given() {
		if _, braces := root.node.(*ast.MappingNode); braces && root.node.(*ast.MappingNode).IsFlowStyle {
			return ErrByHand
		}
		// The key is needed for a comment too, once its # is removed.
		e.insert(len(e.lines), append([]string{"", "lines:"}, indent(remarks(block, a.Remark), "  ")...))
		return nil
	}
	return e.extend(lines, remarks(block, a.Remark), inBraces)
}

// devicesOf finds the list of devices of a line.
func devicesOf(lines value, id string) (value, error) {
	for _, l := range lines.list(MaxLines) {
		m, ok := l.keys()
		if !ok {
			continue
		}
		if s, ok := scalarIn(m.get("id")); ok && s.text == id {
			return m.get("devices"), nil
		}
	}
	return value{}, fmt.Errorf("%w: it has no line %s", ErrByHand, id)
}

// emptyList is a list in brackets that has nothing.
var emptyList = regexp.MustCompile(`\[\s*\]`)

// extend adds an element to a list: block where the list has a line per element, inBraces where it is in brackets; ""
// adds nothing there.
func (e *editor) extend(v value, block []string, inBraces string) error {
	switch n := v.node.(type) {
	case *ast.NullNode:
		e.insert(v.key.Line, indent(block, strings.Repeat(" ", v.key.Column+1)))
		return nil
	case *ast.SequenceNode:
		switch {
		case n.IsFlowStyle && len(n.Values) == 0:
			i := v.at.Line - 1
			at := emptyList.FindStringIndex(e.lines[i])
			if at == nil {
				return ErrByHand
			}
			e.lines[i] = strings.TrimRight(e.lines[i][:at[0]], " ") + e.lines[i][at[1]:]
			e.insert(v.key.Line, indent(block, strings.Repeat(" ", v.key.Column+1)))
			return nil
		case n.IsFlowStyle:
			return e.extendBrackets(n, inBraces)
		}
		dash := placeOf(n.Start).Column - 1
		e.insert(e.endOf(startOf(n.Values[len(n.Values)-1]).Line, dash), indent(block, strings.Repeat(" ", dash)))
		return nil
	}
	return ErrByHand
}

// extendBrackets writes after the last element of a list in brackets.
func (e *editor) extendBrackets(n *ast.SequenceNode, element string) error {
	if n.End == nil {
		return ErrByHand
	}
	if element == "" {
		return nil
	}
	at := placeOf(n.End)
	if at.Line > len(e.lines) {
		return ErrByHand
	}
	line := []rune(e.lines[at.Line-1])
	if at.Column > len(line) || line[at.Column-1] != ']' {
		return ErrByHand
	}
	e.lines[at.Line-1] = string(line[:at.Column-1]) + ", " + element + string(line[at.Column-1:])
	return nil
}

// endOf returns the last line, counted from 1, of the list element that begins in line first: the following line is not
// indented deeper than the dash. Blank lines and comments after the element belong to what follows.
func (e *editor) endOf(first, dash int) int {
	end := first
	for i := first; i < len(e.lines); i++ {
		l := strings.TrimRight(e.lines[i], " \r\n")
		bare := strings.TrimLeft(l, " ")
		if bare == "" || bare[0] == '#' {
			continue
		}
		if len(l)-len(bare) <= dash {
			break
		}
		end = i + 1
	}
	return end
}

// insert writes lines after the first n ones.
func (e *editor) insert(n int, lines []string) {
	if n > 0 && !strings.HasSuffix(e.lines[n-1], "\n") {
		e.lines[n-1] += e.eol
	}
	var added []string
	for _, l := range lines {
		added = append(added, strings.TrimRight(l, " ")+e.eol)
	}
	e.lines = append(e.lines[:n:n], append(added, e.lines[n:]...)...)
}

func indent(lines []string, by string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = by + l
	}
	return out
}

// remarks makes comments of lines, if they are to be.
func remarks(lines []string, yes bool) []string {
	if !yes {
		return lines
	}
	return indent(lines, "# ")
}

// flow writes devices as elements of a list in brackets. Remarks have no place there.
func flow(entries []string, remark bool) string {
	var out []string
	for _, x := range entries {
		if rest, ok := strings.CutPrefix(x, "- "); ok && !remark {
			out = append(out, rest)
		}
	}
	return strings.Join(out, ", ")
}
