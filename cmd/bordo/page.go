package main

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"bordo/cmd/terminal"
)

// plainWidth is how wide a page is made where no screen says how wide it is.
const plainWidth = 80

// markdownLink is a link in a page.
var markdownLink = regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`)

// page renders the subset of Markdown that the notes use (headings, paragraphs, lists and tables) as plain text for a
// screen of the given width.
func page(text string, width int) string {
	var out strings.Builder
	var block []string // lines that belong together
	flush := func() {
		out.WriteString(pageBlock(block, width))
		block = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		item := strings.HasPrefix(line, "- ")
		row, rows := strings.HasPrefix(line, "|"), len(block) > 0 && strings.HasPrefix(block[0], "|")
		if line == "" || item || strings.HasPrefix(line, "#") || row != rows {
			flush()
		}
		if line == "" {
			if s := out.String(); s != "" && !strings.HasSuffix(s, "\n\n") {
				out.WriteByte('\n')
			}
			continue
		}
		block = append(block, line)
		if strings.HasPrefix(line, "#") {
			flush()
		}
	}
	flush()
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// pageBlock lays out one heading, paragraph, list item or table.
func pageBlock(lines []string, width int) string {
	switch {
	case len(lines) == 0:
		return ""
	case strings.HasPrefix(lines[0], "|"):
		return pageTable(lines, width)
	case strings.HasPrefix(lines[0], "#"):
		return pageHeading(lines[0], width)
	}
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	text, hanging := pageText(strings.Join(lines, " ")), 0
	if strings.HasPrefix(text, "- ") {
		hanging = 2
	}
	return terminal.Fold(text, width, hanging) + "\n"
}

// pageHeading underlines headings as deep as they are high.
func pageHeading(line string, width int) string {
	text := strings.TrimLeft(line, "#")
	level := len(line) - len(text)
	text = pageText(strings.TrimSpace(text))
	if level > 2 {
		return terminal.Fold(text, width, 0) + "\n"
	}
	under := map[int]string{1: "=", 2: "-"}[level]
	return terminal.Fold(text, width, 0) + "\n" + strings.Repeat(under, min(width, utf8.RuneCountInString(text))) + "\n"
}

func pageTable(lines []string, width int) string {
	var t terminal.Table
	for i, l := range lines {
		if i == 1 { // the rule below the headings
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(l, "|"), "|"), " | ")
		for j, c := range cells {
			cells[j] = strings.TrimSpace(pageText(c))
		}
		if i == 0 {
			t.Head = cells
		} else {
			t.Rows = append(t.Rows, cells)
		}
	}
	return t.Text(width)
}

// pageText is a text without its marks.
func pageText(text string) string {
	text = markdownLink.ReplaceAllString(text, "$1 ($2)")
	return strings.NewReplacer("**", "", "`", "").Replace(text)
}

// chapter is the part of a page up to the end of its first chapter.
func chapter(text string) (first string, more bool) {
	at := strings.Index(text, "\n## ")
	if at < 0 {
		return text, false
	}
	next := strings.Index(text[at+1:], "\n## ")
	if next < 0 {
		return text, false
	}
	return text[:at+1+next+1], true
}
