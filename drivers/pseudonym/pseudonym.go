// Package pseudonym replaces what identifies a person, such as the number of an access card, by a pseudonym that says nothing
// without a key.
//
// The pseudonym is the first half of HMAC-SHA-256 over scope, kind and value. A plain hash would not do: all numbers of a
// kind of card, and all Italian tax codes, can be tried within hours. Every identifier has one canonical form, so that a card
// has one pseudonym at every reader of a scope and in the centre's list. The package promises that a value appears in none of
// its errors; it cannot promise that the garbage collector leaves no copy in memory.
package pseudonym

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// The kinds of identifier whose form is known. Others are taken as printable ASCII.
const (
	EM4100 = "em4100" // the printed 32-bit number as 8 hexadecimal digits, without a version byte
	CF     = "cf"     // Italian tax code: 16 letters and digits, omocodia as it was read
	Plate  = "plate"  // number plate
)

// Size is the length of a pseudonym in hexadecimal digits.
const Size = 32

// keySize is the length of a key in bytes.
const keySize = 32

// maxValue bounds an identifier, in bytes.
const maxValue = 64

// Key is the secret of a site. It prints as a word, never as itself.
type Key struct{ secret [keySize]byte }

// String returns a word that stands for every key.
func (Key) String() string { return "[key]" }

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// LogValue is String, for log/slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// ParseKey reads a key from 64 hexadecimal digits. The error does not repeat them.
func ParseKey(text string) (Key, error) {
	var k Key
	text = strings.TrimSpace(text)
	if len(text) != 2*keySize {
		return Key{}, fmt.Errorf("a key has %d hexadecimal digits and this one %d characters; make one with: openssl rand -hex %d", 2*keySize, len(text), keySize)
	}
	if _, err := hex.Decode(k.secret[:], []byte(text)); err != nil {
		return Key{}, errors.New("a key has only hexadecimal digits (0-9, a-f)")
	}
	if k == (Key{}) {
		return Key{}, errors.New("a key of zeros is none")
	}
	return k, nil
}

// ReadKey reads a key from a file of 64 hexadecimal digits.
func ReadKey(file string) (Key, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Key{}, fmt.Errorf("read key: %w", err)
	}
	defer clear(b)
	k, err := ParseKey(string(b))
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
	if key == (Key{}) {
		return nil, errors.New("pseudonyms need a key")
	}
	if scope == "" || len(scope) > maxValue || strings.Trim(scope, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, fmt.Errorf("scope must be lower-case letters, digits and dashes (got %q)", scope)
	}
	return &Maker{key, scope}, nil
}

// Of returns the pseudonym of an identifier: Size hexadecimal digits, the same for ever for the same key, scope, kind and
// identifier, however it is spelt.
func (m *Maker) Of(kind, value string) (string, error) {
	canonical, err := Canonical(kind, value)
	if err != nil {
		return "", err
	}
	text := []byte(m.scope + "|" + kind + "|" + canonical)
	defer clear(text)
	h := hmac.New(sha256.New, m.key.secret[:])
	h.Write(text)
	return hex.EncodeToString(h.Sum(nil)[:Size/2]), nil
}

// Canonical returns the one form of an identifier: upper case, without spaces. The error says what is wrong with it and does
// not repeat it.
func Canonical(kind, value string) (string, error) {
	if kind == "" || len(kind) > maxValue || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fmt.Errorf("kind of identifier must be lower-case letters, digits and dashes (got %q)", kind)
	}
	if len(value) > 2*maxValue {
		return "", fmt.Errorf("%s: %d characters are too many", kind, len(value))
	}
	text := strings.ToUpper(strings.Join(strings.Fields(value), ""))
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || c == '|' {
			return "", fmt.Errorf("%s: a character is not allowed", kind)
		}
	}
	digits, letters := "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	low, high, allowed := 1, maxValue, ""
	switch kind {
	case EM4100:
		low, high, allowed = 8, 8, digits+"ABCDEF"
	case CF:
		low, high, allowed = 16, 16, digits+letters
	case Plate:
		low, high, allowed = 2, 10, digits+letters
	}
	if len(text) < low || len(text) > high {
		return "", fmt.Errorf("%s: %d characters, want %d to %d", kind, len(text), low, high)
	}
	if allowed != "" && strings.Trim(text, allowed) != "" {
		return "", fmt.Errorf("%s: a character is not allowed", kind)
	}
	return text, nil
}

// CardNumber is the canonical form of the 32-bit number that is printed on an EM4100 card.
func CardNumber(n uint32) string { return fmt.Sprintf("%08X", n) }
