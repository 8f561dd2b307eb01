package terminal

import (
	"strings"
	"unicode/utf8"
)

// Fold wraps a line for a screen of the given width; following lines are indented by hanging blanks. Nothing is lost:
// it breaks a word that is wider than the screen. A width of 0 means unlimited.
func Fold(line string, width, hanging int) string {
	var out strings.Builder
	for width > 2*hanging && utf8.RuneCountInString(line) > width {
		r := []rune(line)
		at := width
		for at > hanging && r[at] != ' ' {
			at--
		}
		if at <= hanging || strings.TrimSpace(string(r[:at])) == "" {
			at = width // one long word
		}
		out.WriteString(strings.TrimRight(string(r[:at]), " ") + "\n")
		line = strings.Repeat(" ", hanging) + strings.TrimLeft(string(r[at:]), " ")
	}
	return out.String() + line
}

// FoldLines folds each line of a text. Blanks at their ends are left out.
func FoldLines(text string, width, hanging int) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(Fold(strings.TrimRight(line, " \n"), width, hanging) + "\n")
	}
	return out.String()
}

// Table is rows under headings.
type Table struct {
	Head  []string // may be missing
	Rows  [][]string
	Inset int // blanks in front of each line
}

// Bounds of a table on a small screen.
const (
	between    = 2  // blanks between two columns
	lastColumn = 24 // what the last column may be narrowed to
)

// Text lays out the table for a screen of the given width, 0 for unlimited: in columns, the last of which is folded if
// necessary; or, where that does not fit, row by row, with the first cell in its own line and the others below it,
// numbers with their headings. The heading of the first column stands above both.
func (t Table) Text(width int) string {
	var wide []int
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, cell := range row {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], utf8.RuneCountInString(cell))
		}
	}
	before := t.Inset // the last column
	for _, w := range wide[:max(0, len(wide)-1)] {
		before += w + between
	}
	last := 0
	if len(wide) > 0 {
		last = wide[len(wide)-1]
	}
	if width > 0 && before+min(last, lastColumn) > width || width > 0 && before+last > width && width <= 2*before {
		return t.stacked(width)
	}
	var out strings.Builder
	for i, row := range append([][]string{t.Head}, t.Rows...) {
		if i == 0 && len(row) == 0 {
			continue
		}
		line := strings.Repeat(" ", t.Inset)
		for j, cell := range row {
			if i == 0 {
				word, _, _ := strings.Cut(cell, " (")
				cell = strings.ToUpper(word) + strings.TrimPrefix(cell, word)
			}
			line += cell + strings.Repeat(" ", wide[j]+between-utf8.RuneCountInString(cell))
		}
		out.WriteString(Fold(strings.TrimRight(line, " "), width, before) + "\n")
	}
	return out.String()
}

// stacked is the table row by row.
func (t Table) stacked(width int) string {
	var out strings.Builder
	if len(t.Head) > 0 {
		out.WriteString(Fold(strings.Repeat(" ", t.Inset)+strings.ToUpper(t.Head[0]), width, t.Inset) + "\n")
	}
	for _, row := range t.Rows {
		var rest []string
		for j, cell := range row {
			switch cell = strings.TrimSpace(cell); {
			case j == 0 || cell == "" || cell == "-":
			case j < len(t.Head) && cell[0] >= '0' && cell[0] <= '9': // a bare number says nothing
				word, _, _ := strings.Cut(t.Head[j], " (")
				rest = append(rest, word+" "+cell)
			default:
				rest = append(rest, cell)
			}
		}
		in := strings.Repeat(" ", t.Inset)
		out.WriteString(Fold(in+row[0], width, t.Inset+between) + "\n")
		if len(rest) > 0 {
			out.WriteString(Fold(in+"  "+strings.Join(rest, ", "), width, t.Inset+between) + "\n")
		}
	}
	return out.String()
}
