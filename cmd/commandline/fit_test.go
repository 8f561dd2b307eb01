package commandline

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const aPage = `usage: tool do [flags]

This is a paragraph of help that is longer than the screen of the one who reads it, and that goes on
in the next line. Città.

  first    what the first thing does, and a little more of it
  second   short
  --password-file FILE  a file with nothing but the password

  tool do --with a-very-long-example-that-cannot-be-broken-anywhere-at-all
`

func TestFit(t *testing.T) {
	want := `usage: tool do [flags]

This is a paragraph of help that is
longer than the screen of the one who
reads it, and that goes on in the next
line. Città.

  first    what the first thing does,
           and a little more of it
  second   short
  --password-file FILE
    a file with nothing but the password

  tool do --with
    a-very-long-example-that-cannot-be-b
    roken-anywhere-at-all
`
	if got := fit(aPage, 40); got != want {
		t.Errorf("got\n%s", got)
	}
	for width := 1; width < 140; width++ {
		got := fit(aPage, width)
		if strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(aPage), "") {
			t.Errorf("%d columns lose something:\n%s", width, got)
		}
		for l := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > width && width > 30 {
				t.Errorf("%d columns: %d characters in %q", width, n, l)
			}
		}
	}
}
