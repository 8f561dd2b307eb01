package commandline

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"bordo/cmd/terminal"
)

// entry matches the beginning of a list entry, up to its text.
var entry = regexp.MustCompile(`^ +\S.*?\S {2,}`)

// fit wraps a page of help for a screen of the given width. Lines without leading blanks are paragraphs and are
// refilled. The text of a list entry continues below its beginning, or on the next lines where that is too far to the
// right.
func fit(page string, width int) string {
	var out strings.Builder
	paragraph := ""
	flush := func() {
		if paragraph != "" {
			out.WriteString(terminal.Fold(paragraph, width, 0) + "\n")
		}
		paragraph = ""
	}
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, " \n")
		if line != "" && line[0] != ' ' {
			paragraph = strings.TrimSpace(paragraph + " " + line)
			continue
		}
		flush()
		hanging := 4
		switch head := entry.FindString(line); {
		case head == "" || utf8.RuneCountInString(line) <= width:
		case len(head) < width/2:
			hanging = len(head)
		default: // the beginning fills the line: the text starts on the next
			out.WriteString(strings.TrimRight(head, " ") + "\n")
			line = strings.Repeat(" ", hanging) + line[len(head):]
		}
		out.WriteString(terminal.Fold(line, width, hanging) + "\n")
	}
	flush()
	return out.String()
}
