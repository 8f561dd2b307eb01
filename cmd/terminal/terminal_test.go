package terminal

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestSizeOfNoTerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // empty
	for _, w := range []any{file, &strings.Builder{}, nil} {
		if width, height, yes := Size(w); yes || width != 0 || height != 0 {
			t.Errorf("%T is a terminal of %d by %d", w, width, height)
		}
	}
}

func TestFrame(t *testing.T) {
	want := "\x1b[HNODE\x1b[K\r\nquin…\x1b[K\x1b[J"
	if got := Frame([]string{"NODE", "quintano"}, 5); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCut(t *testing.T) {
	for _, x := range []struct {
		text  string
		width int
		want  string
	}{{"però", 4, "però"}, {"però", 3, "pe…"}, {"però", 1, "…"}, {"però", 0, ""}, {"", 0, ""}} {
		if got := Cut(x.text, x.width); got != x.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", x.text, x.width, got, x.want)
		}
	}
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"Città alta": "Città alta", "a\x1b[2Jb": "a?[2Jb", "two\nlines\r\t": "two lines  ",
		"\xff\u0085\u202e\x00": "????", "": "",
	} {
		if got := Clean(text); got != want {
			t.Errorf("Clean(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	now := time.UnixMilli(1760000000000)
	for d, want := range map[time.Duration][2]string{
		-3 * time.Second:           {"0s", "-3s"},
		-59 * time.Minute:          {"0s", "-59m"},
		0:                          {"0s", "0ms"},
		85 * time.Millisecond:      {"0s", "85ms"},
		1290 * time.Millisecond:    {"1s", "1.2s"},
		9990 * time.Millisecond:    {"9s", "9.9s"},
		61 * time.Second:           {"1m01s", "61s"},
		59*time.Minute + 59*1e9:    {"59m59s", "59m"},
		3*time.Hour + 12*60*1e9:    {"3h12m", "3h"},
		49*time.Hour + 30*60*1e9:   {"2d01h", "2d"},
		400 * 24 * time.Hour:       {"400d00h", "400d"},
		47*time.Hour + 59*60*1e9:   {"1d23h", "47h"},
		119*time.Minute + 59*1e9:   {"1h59m", "119m"},
		23*time.Hour + 59*60*1e9:   {"23h59m", "23h"},
		999999 * time.Microsecond:  {"0s", "999ms"},
		119999 * time.Millisecond:  {"1m59s", "119s"},
		-12345 * time.Millisecond:  {"0s", "-12s"},
		-100 * time.Hour:           {"0s", "-4d"},
		10_000 * time.Millisecond:  {"10s", "10s"},
		120_000 * time.Millisecond: {"2m00s", "2m"},
	} {
		if age, span := Age(now, now.Add(-d)), Span(d); age != want[0] || span != want[1] {
			t.Errorf("%s: Age %s, Span %s, want %v", d, age, span, want)
		}
	}
}
