// Package publiccode checks publiccode.yml with the parser of the catalogue that will read it (Developers Italia). It is a
// module of its own so that the parser and what it pulls in never enter the module graph of the agent. Nothing is asked of
// the network: whether the addresses in the file answer is not checked.
package publiccode

import (
	"bytes"
	"os"
	"strings"
	"testing"

	publiccode "github.com/italia/publiccode-parser-go/v5"
)

const file = "../../publiccode.yml"

// validate gives the parser's errors and warnings together: the file is to be free of both.
func validate(t *testing.T, text []byte) error {
	t.Helper()
	parser, err := publiccode.NewParser(publiccode.ParserConfig{DisableNetwork: true, DisableExternalChecks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.ParseStream(bytes.NewReader(text))
	return err
}

func read(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestFileIsValid(t *testing.T) {
	if err := validate(t, read(t)); err != nil {
		t.Errorf("%s:\n%v", file, err)
	}
}

func TestFileSaysWhatTheCatalogueNeeds(t *testing.T) {
	parser, err := publiccode.NewParser(publiccode.ParserConfig{DisableExternalChecks: true})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.ParseStream(bytes.NewReader(read(t)))
	if err != nil {
		t.Fatal(err)
	}
	v0, ok := parsed.(publiccode.PublicCodeV0)
	if !ok {
		t.Fatalf("parsed as %T", parsed)
	}
	if v0.Legal.License != "EUPL-1.2" {
		t.Errorf("licence %q is not the one in LICENSE", v0.Legal.License)
	}
	for _, language := range []string{"it", "en"} {
		d, ok := v0.Description[language]
		if !ok || d.Features == nil || len(*d.Features) < 5 {
			t.Errorf("description in %s: missing, or fewer than five features", language)
		}
	}
}

// The parser must be able to say no: each damage is of a kind that people make.
func TestDamageIsFound(t *testing.T) {
	text := string(read(t))
	damages := []struct{ name, old, new, want string }{
		{"unknown category", "- data-collection", "- data-colection", "categories"},
		{"unknown status", "developmentStatus: development", "developmentStatus: ready", "developmentStatus"},
		{"unknown licence", "license: EUPL-1.2", "license: EUPL-9", "legal.license"},
		{"unknown key", "softwareType:", "softwareKind:", "softwareKind"},
		{"internal without contact", "contacts:", "contractors:", "contacts"},
		{"no language tag", "\n  it:\n    localisedName", "\n  italiano!:\n    localisedName", "description"},
		{"scope of another list", "- local-authorities", "- municipalities", "scope"},
		{"not an address", "https://example.org/bordo.git", "example", "url"},
	}
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			if !strings.Contains(text, d.old) {
				t.Fatalf("%q is no longer in %s", d.old, file)
			}
			err := validate(t, []byte(strings.Replace(text, d.old, d.new, 1)))
			if err == nil || !strings.Contains(err.Error(), d.want) {
				t.Errorf("got %v, want an error about %s", err, d.want)
			}
		})
	}
}
