// Package terminal is what the programs need to show something to a person: how large the screen is, a picture that is
// drawn again in place, text of foreign origin made harmless, and times that are read at a glance.
package terminal

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Size returns the size of the terminal behind w; one that does not report it has 80 columns and 24 rows. It returns
// false if w is no terminal.
func Size(w any) (width, height int, yes bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
		return width, height, true
	}
	return 80, 24, true
}

// Begin and End enclose a series of frames: the cursor is hidden, and restored below the last frame.
const (
	Begin = "\x1b[?25l\x1b[2J"
	End   = "\x1b[?25h\r\n"
)

// Frame makes a picture of lines: from the top left corner, each cut to the width and cleared behind, nothing below.
func Frame(lines []string, width int) string {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, l := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(Cut(l, width) + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// Cut shortens a text to a number of characters, marking the cut in the last one.
func Cut(text string, width int) string {
	if width <= 0 {
		return ""
	}
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

// Count is a number of things in English: 1 node, 2 nodes.
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// Write prints lines and cuts them where a terminal would fold them. Blanks at their ends are left out.
func Write(w io.Writer, text string) error {
	width, _, seen := Size(w)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if seen {
			line = Cut(line, width)
		}
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// Clean makes foreign text safe to print: a device or a broker must not move the cursor, and one line stays one.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
}

// Age formats the time since a moment, in at most two units. Another clock may be behind ours.
func Age(now, then time.Time) string {
	d := max(0, now.Sub(then)).Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// Span formats a short time, which may be negative, in at most six characters: 85ms, 1.2s, -59m, 3h, 12d.
func Span(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	switch {
	case d < time.Second:
		return fmt.Sprintf("%s%dms", sign, d.Milliseconds())
	case d < 10*time.Second:
		return sign + strconv.FormatFloat(math.Floor(d.Seconds()*10)/10, 'f', -1, 64) + "s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%s%ds", sign, d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%s%dm", sign, d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%s%dh", sign, d/time.Hour)
	}
	return fmt.Sprintf("%s%dd", sign, d/(24*time.Hour))
}
