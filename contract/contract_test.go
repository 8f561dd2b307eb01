package contract

import (
	"regexp"
	"strings"
	"testing"
)

// The checks say what the patterns say, which the schemas have.
func TestChecksAreThePatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		check   func(string) error
		most    int
	}{{IDPattern, CheckID, maxID}, {KeyPattern, CheckKey, maxKey}, {EpochPattern, CheckEpoch, 8}} {
		form := regexp.MustCompile(c.pattern)
		tried := map[bool]int{}
		for _, first := range []string{"", "a", "z", "0", "9", "-", "_", "A", "è", "\n"} {
			for _, rest := range []string{"", "a", "0", "-", "_", "Z", ".", "/", "\n", "\x00"} {
				for n := range c.most + 2 {
					s := first + strings.Repeat("x", max(n-1, 0)) + rest
					want := form.MatchString(s)
					tried[want]++
					if got := c.check(s) == nil; got != want {
						t.Errorf("%q: %v by the check, %v by %s", s, got, want, c.pattern)
					}
				}
			}
		}
		if tried[true] == 0 || tried[false] == 0 {
			t.Errorf("%s: %v", c.pattern, tried)
		}
	}
}
