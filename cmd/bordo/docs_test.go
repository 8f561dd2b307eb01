package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documented is a command line of this program in a document, behind a prompt or between backticks.
var documented = regexp.MustCompile("(?m)(?:^[#$] |`)(?:bin/)?bordo ([a-z][^`\n#>]*)")

// The commands that the documents show exist, with their flags.
func TestDocumentedCommands(t *testing.T) {
	n := 0
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(pages, "../../README.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range documented.FindAllStringSubmatch(string(text), -1) {
			words := strings.Fields(m[1])
			if err := parses(words[0], words[1:]); err != "" {
				t.Errorf("%s: bordo %s: %s", file, m[1], err)
			}
			n++
		}
	}
	if n < 30 {
		t.Errorf("found %d commands: the test would hold for nothing", n)
	}
}

// parses tells why a command does not take the words behind it.
func parses(name string, rest []string) string {
	if name == "help" || name == "completion" { // of every program
		return ""
	}
	for _, v := range commands(english()) {
		if v.name != name {
			continue
		}
		set := flag.NewFlagSet(name, flag.ContinueOnError)
		set.SetOutput(io.Discard)
		v.flags(set)
		operands := 0
		for len(rest) > 0 {
			// A sentence may name a flag without its value.
			if err := set.Parse(rest); err != nil && !strings.HasPrefix(err.Error(), "flag needs an argument") {
				return err.Error()
			}
			if rest = set.Args(); len(rest) > 0 {
				operands, rest = operands+1, rest[1:]
			}
		}
		if operands > v.most {
			return "too many operands"
		}
		return ""
	}
	return "no such command"
}
