// Package pseudonym replaces what identifies a person, such as the number of an access card, by a pseudonym that
// reveals nothing without a key.
//
// The pseudonym is the first half of HMAC-SHA-256 over scope, kind and value. A plain hash would not suffice: all
// numbers of a kind of card, and all Italian tax codes, can be tried within hours. Every identifier has one canonical
// form, so that a card has one pseudonym at every reader of a scope and in the centre's list.
//
// No error and no formatting of the package's types shows a key or an identifier. The package overwrites the buffers of
// its own that held an identifier or the text of a key. It cannot overwrite the caller's copies, the internal state
// of crypto/hmac, nor copies made by the runtime; a Key holds its secret as long as it is reachable.
package pseudonym

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// The kinds of identifier.
const (
	EM4100 = "em4100" // the printed 32-bit number as 8 hexadecimal digits, without a version byte
	CF     = "cf"     // Italian tax code: 16 letters and digits, omocodia as it was read
	Plate  = "plate"  // number plate: 2 to 10 letters and digits
	Badge  = "badge"  // the number of any other card: 1 to 64 printable characters but "|"
)

// form is what the canonical form of a kind looks like.
type form struct {
	low, high int    // characters
	allowed   string // empty: printable ASCII but "|"
}

const (
	digits  = "0123456789"
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

var forms = map[string]form{
	EM4100: {8, 8, digits + "ABCDEF"},
	CF:     {16, 16, digits + letters},
	Plate:  {2, 10, digits + letters},
	Badge:  {1, maxValue, ""},
}

// Size is the length of a pseudonym in hexadecimal digits.
const Size = 32

// keySize is the length of a key in bytes.
const keySize = 32

// maxValue bounds an identifier in its canonical form, and a scope, in bytes.
const maxValue = 64

// Key is the secret of a site. It prints as a word, also inside other types: package fmt does not look into a function.
type Key struct{ secret func() *[keySize]byte }

// hidden replaces every key in any output.
const hidden = "[key]"

// Format implements fmt.Formatter for every verb.
func (Key) Format(s fmt.State, _ rune) { fmt.Fprint(s, hidden) } //nolint:errcheck // fmt notes it

// MarshalText implements encoding.TextMarshaler, which JSON and logs use.
func (Key) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.secret == nil }

// howToMakeKey is what to do where there is no key.
const howToMakeKey = "make one with: openssl rand -hex 32"

// ParseKey reads a key from 64 hexadecimal digits, which the caller may clear afterwards. The error does not repeat
// them.
func ParseKey(text []byte) (Key, error) {
	for len(text) > 0 && strings.ContainsRune(" \t\r\n", rune(text[len(text)-1])) {
		text = text[:len(text)-1]
	}
	if len(text) != 2*keySize {
		return Key{}, fmt.Errorf("a key has %d hexadecimal digits (got %d characters); %s", 2*keySize, len(text),
			howToMakeKey)
	}
	secret := new([keySize]byte)
	if _, err := hex.Decode(secret[:], text); err != nil {
		clear(secret[:])
		return Key{}, errors.New("a key has only the hexadecimal digits 0-9 and a-f; " + howToMakeKey)
	}
	if *secret == [keySize]byte{} {
		return Key{}, errors.New("a key of zeros protects nothing; " + howToMakeKey)
	}
	return Key{func() *[keySize]byte { return secret }}, nil
}

// ReadKey reads a key from a file of 64 hexadecimal digits. The error names the file and says what to do.
func ReadKey(file string) (Key, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Key{}, fmt.Errorf("read key: %w; copy the site's key there, or, for a new site, %s", err, howToMakeKey)
	}
	if err != nil {
		return Key{}, fmt.Errorf("read key: %w", err)
	}
	defer clear(b)
	k, err := ParseKey(b)
	if err != nil {
		return Key{}, fmt.Errorf("read key %s: %w", file, err)
	}
	return k, nil
}

// Maker makes the pseudonyms of one scope. It may be used by several goroutines.
type Maker struct {
	key   Key
	scope string
}

// New returns a Maker for a scope: the site, or whatever else shares a list of cards. A scope has 1 to 64 lower-case letters,
// digits and dashes.
func New(key Key, scope string) (*Maker, error) {
	if key.IsZero() {
		return nil, errors.New("pseudonyms need a key; " + howToMakeKey)
	}
	if scope == "" || len(scope) > maxValue || strings.Trim(scope, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, fmt.Errorf("scope must be 1 to %d lower-case letters, digits and dashes (got %q)", maxValue, scope)
	}
	return &Maker{key, scope}, nil
}

// Of returns the pseudonym of an identifier: Size hexadecimal digits, always the same for the same key, scope, kind and
// identifier, however it is spelt. The caller clears value.
func (m *Maker) Of(kind string, value []byte) (string, error) {
	canonical, err := Canonical(kind, value)
	if err != nil {
		return "", err
	}
	defer clear(canonical)
	h := hmac.New(sha256.New, m.key.secret()[:])
	h.Write([]byte(m.scope + "|" + kind + "|"))
	h.Write(canonical)
	return hex.EncodeToString(h.Sum(nil)[:Size/2]), nil
}

// Canonical returns the canonical form of an identifier in a new buffer: upper case, without spaces, tabs and line
// ends. The error says what is wrong and repeats neither argument, because they may have been swapped.
func Canonical(kind string, value []byte) ([]byte, error) {
	f, known := forms[kind]
	if !known {
		return nil, fmt.Errorf("unknown kind of identifier: must be one of %s",
			strings.Join(slices.Sorted(maps.Keys(forms)), ", "))
	}
	if len(value) > 4*maxValue {
		return nil, fmt.Errorf("%s: %d bytes are too many", kind, len(value))
	}
	text := make([]byte, 0, len(value))
	for _, c := range value {
		if strings.IndexByte(" \t\r\n", c) >= 0 {
			continue
		}
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c <= ' ' || c > '~' || c == '|' || f.allowed != "" && strings.IndexByte(f.allowed, c) < 0 {
			clear(text)
			return nil, fmt.Errorf("%s: a character is not allowed", kind)
		}
		text = append(text, c)
	}
	if len(text) < f.low || len(text) > f.high {
		n := len(text)
		clear(text)
		if f.low == f.high {
			return nil, fmt.Errorf("%s: must have %d characters (got %d)", kind, f.low, n)
		}
		return nil, fmt.Errorf("%s: must have %d to %d characters (got %d)", kind, f.low, f.high, n)
	}
	return text, nil
}

// CardNumber is the canonical form of the 32-bit number that is printed on an EM4100 card.
func CardNumber(n uint32) []byte { return fmt.Appendf(nil, "%08X", n) }
