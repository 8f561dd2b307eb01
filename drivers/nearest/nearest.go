// Package nearest finds the names that were probably meant by a misspelt one.
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

// maxWord is the maximum length of a word that can be a misspelling: the distance costs the product of both lengths.
const maxWord = 256

// Names returns at most n of the names that were probably meant by word, the nearest first. It compares in lower case.
// A name that contains the word, or the reverse, counts as near whatever else it contains.
func Names(word string, names []string, n int) []string {
	type scored struct {
		name  string
		score int
	}
	word = strings.ToLower(word)
	if len(word) > maxWord {
		return nil
	}
	var near []scored
	for _, name := range names {
		score := distance(word, name)
		switch {
		case len(word) >= 3 && strings.Contains(name, word), len(name) >= 3 && strings.Contains(word, name):
			score = 0 // sdm630 for eastron-sdm630
		case score > slips(min(len(word), len(name))):
			continue
		}
		near = append(near, scored{name, score})
	}
	slices.SortStableFunc(near, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	out := make([]string, 0, n)
	for _, s := range near[:min(n, len(near))] {
		out = append(out, s.name)
	}
	return out
}

// slips is the number of typing errors that a word of n letters may contain and still match another one. A word of
// three letters may contain none: "lun" is a Monday, not "sun".
func slips(n int) int {
	if n < 4 {
		return 0
	}
	return max(1, n/4)
}

// distance returns the number of letters to insert, delete, replace or swap with their neighbour to get from a to b
// (optimal string alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			change := 1
			if s[i-1] == t[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}
