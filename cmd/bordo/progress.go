package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"bordo/cmd/terminal"
	"bordo/drivers/scan"
)

// bar shows the progress of a scan in the last line of a terminal. Without a terminal it shows nothing.
type bar struct {
	w     io.Writer
	lang  *langValue
	width int // 0: no terminal

	mu    sync.Mutex
	began time.Time // guarded by mu, as all below
	drawn time.Time
	shown bool
}

// redraw is the minimum interval between two drawings: a slow terminal must not slow the scan.
const redraw = 100 * time.Millisecond

func newBar(w io.Writer, lang *langValue) *bar {
	width, _, _ := terminal.Size(w)
	return &bar{w: w, lang: lang, width: width, began: time.Now()}
}

// draw shows a step.
func (b *bar) draw(p *scan.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.width == 0 || now.Sub(b.drawn) < redraw {
		return
	}
	b.drawn, b.shown = now, true
	fmt.Fprintf(b.w, "\r%s\x1b[K", b.text(p, now.Sub(b.began)))
}

// clear takes the bar away, so that something can be printed in its line.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.shown, b.drawn = false, time.Time{}
	}
}

// text is the bar for a step, never wider than the terminal.
func (b *bar) text(p *scan.Progress, took time.Duration) string {
	const cells = 20
	full := min(cells, cells*p.Done/max(1, p.Total))
	text := fmt.Sprintf("[%s%s] %3d %%  %s", strings.Repeat("#", full), strings.Repeat(".", cells-full),
		min(99, 100*p.Done/max(1, p.Total)), portText(p.At))
	if p.Unit > 0 {
		text += fmt.Sprintf(" %s %d", phrase("number").in(b.lang), p.Unit)
	}
	if p.Done > 10 && took > 5*time.Second {
		left := took * time.Duration(p.Total-p.Done) / time.Duration(p.Done)
		text += ", " + phrase("at most about %s").in(b.lang, leftText(left))
	}
	if utf8.RuneCountInString(text) >= b.width {
		text = string([]rune(text)[:b.width-1])
	}
	return text
}

// leftText formats an estimated time coarsely.
func leftText(d time.Duration) string {
	if d < 90*time.Second {
		return fmt.Sprintf("%d s", int(d.Round(5*time.Second).Seconds()))
	}
	return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
}
