package commandline

import (
	"regexp"
	"strings"

	"bordo/cmd/terminal"
)

// entry is a line of a list: what stands in front, and where its text begins.
var entry = regexp.MustCompile(`^ +\S.*?\S {2,}`)

// fit breaks a page of help between words for a screen of the given width. Lines without a blank in front are paragraphs and
// are filled anew; the text of a list goes on below where it began.
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
		if head := entry.FindString(line); head != "" && len(head) < width/2 {
			hanging = len(head)
		}
		out.WriteString(terminal.Fold(line, width, hanging) + "\n")
	}
	flush()
	return out.String()
}
