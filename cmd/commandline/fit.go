package commandline

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"bordo/cmd/terminal"
)

// entry is a line of a list: what stands in front, and where its text begins.
var entry = regexp.MustCompile(`^ +\S.*?\S {2,}`)

// fit breaks a page of help between words for a screen of the given width. Lines without a blank in front are paragraphs and
// are filled anew; the text of a list goes on below where it began, or on the lines below where that is too far to the right.
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
		default: // what stands in front fills the line: its text begins on the next
			out.WriteString(strings.TrimRight(head, " ") + "\n")
			line = strings.Repeat(" ", hanging) + line[len(head):]
		}
		out.WriteString(terminal.Fold(line, width, hanging) + "\n")
	}
	flush()
	return out.String()
}
