package nearest

import (
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	verbs := []string{"run", "check", "status", "version", "help"}
	models := []string{"carlo-gavazzi-em24", "carlo-gavazzi-em340", "eastron-sdm630", "eastron-sdm72d", "rdm6300",
		"sunspec"}
	for _, x := range []struct {
		word  string
		names []string
		n     int
		want  string
	}{
		{"chekc", verbs, 1, "check"},
		{"statsu", verbs, 1, "status"},
		{"STATUS", verbs, 1, "status"},
		{"rn", verbs, 1, ""},  // two letters can be anything
		{"lun", verbs, 1, ""}, // as far from run as from nothing
		{"runs", verbs, 1, "run"},
		{"start", verbs, 1, ""},
		{"sdm630", models, 3, "eastron-sdm630"},
		{"em340", models, 3, "carlo-gavazzi-em340"},
		{"carlo-gavazzi-em34", models, 3, "carlo-gavazzi-em340 carlo-gavazzi-em24"},
		{"carlo-gavazzi-em34", models, 1, "carlo-gavazzi-em340"},
		{"sunpsec", models, 3, "sunspec"},
		{"", models, 3, ""},
		{strings.Repeat("sunspec", 100), models, 3, ""},
		{"sunspec", nil, 3, ""},
	} {
		if got := strings.Join(Names(x.word, x.names, x.n), " "); got != x.want {
			t.Errorf("Names(%q, %d): got %q, want %q", x.word, x.n, got, x.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, x := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"ab", "abc", 1},
		{"abc", "axc", 1}, {"ca", "abc", 3}, {"kitten", "sitting", 3}, {"città", "citta", 1},
	} {
		for _, pair := range [][2]string{{x.a, x.b}, {x.b, x.a}} {
			if got := distance(pair[0], pair[1]); got != x.want {
				t.Errorf("distance(%q, %q): got %d, want %d", pair[0], pair[1], got, x.want)
			}
		}
	}
	if !slices.Equal(Names("abcd", []string{"abdc", "abce"}, 2), []string{"abdc", "abce"}) {
		t.Error("names that are as near as each other do not keep their order")
	}
}
