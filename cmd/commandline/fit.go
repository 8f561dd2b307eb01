package commandline

import (
	"regexp"
	"strings"
	"unicode/utf8"
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
			out.WriteString(wrap(paragraph, width, 0))
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
		out.WriteString(wrap(line, width, hanging))
	}
	flush()
	return out.String()
}

// wrap breaks one line; what follows is set in by hanging blanks.
func wrap(line string, width, hanging int) string {
	var out strings.Builder
	for width > 2*hanging && utf8.RuneCountInString(line) > width {
		r := []rune(line)
		at := width
		for at > hanging && r[at] != ' ' {
			at--
		}
		if strings.TrimSpace(string(r[:at])) == "" || at <= hanging {
			at = width // one long word
		}
		out.WriteString(strings.TrimRight(string(r[:at]), " ") + "\n")
		line = strings.Repeat(" ", hanging) + strings.TrimLeft(string(r[at:]), " ")
	}
	return out.String() + line + "\n"
}
