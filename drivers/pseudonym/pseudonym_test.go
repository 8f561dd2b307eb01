package pseudonym_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bordo/drivers/pseudonym"
)

// counted is the key of the vectors: bytes 00 to 1F.
const counted = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func maker(t testing.TB, scope string) *pseudonym.Maker {
	t.Helper()
	m, err := pseudonym.New(mustKey(t), scope)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustKey(t testing.TB) pseudonym.Key {
	t.Helper()
	k, err := pseudonym.ParseKey([]byte(counted))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The expected values were computed by another implementation of HMAC-SHA-256 (OpenSSL).
func TestVectors(t *testing.T) {
	for _, c := range []struct{ scope, kind, value, want string }{
		{"ecopiazzola-07", pseudonym.CF, "RSSMRA80A01H501U", "6d66cc629ced552fc6f40dc9fc567c08"},
		{"ecopiazzola-07", pseudonym.CF, " rssmra 80a01 h501u\r\n", "6d66cc629ced552fc6f40dc9fc567c08"},
		{"ecopiazzola-07", pseudonym.EM4100, string(pseudonym.CardNumber(6547886)), "4cb69b62040bf99f20dbae975c9bd4e3"},
		{"ecopiazzola-07", pseudonym.EM4100, "0063e9ae", "4cb69b62040bf99f20dbae975c9bd4e3"},
		{"varco-03", pseudonym.Plate, "AA 000 AA", "d980d207c99cc1fb52d7548444828580"},
	} {
		value := []byte(c.value)
		if got, err := maker(t, c.scope).Of(c.kind, value); got != c.want || err != nil {
			t.Errorf("%s %s: %s, %v; want %s", c.scope, c.kind, got, err, c.want)
		}
		if string(value) != c.value {
			t.Errorf("%s: the caller's value became %q", c.kind, value)
		}
	}
	a, _ := maker(t, "a").Of(pseudonym.Badge, []byte("AA"))
	b, _ := maker(t, "b").Of(pseudonym.Badge, []byte("AA"))
	c, _ := maker(t, "a").Of(pseudonym.Plate, []byte("AA"))
	if a == b || a == c || len(a) != pseudonym.Size {
		t.Errorf("%s, %s, %s: scope and kind do not separate", a, b, c)
	}
}

func TestRefusals(t *testing.T) {
	const cf = "RSSMRA80A01H501U"
	for _, c := range [][2]string{
		{pseudonym.EM4100, "01006 3E9AE9"}, {pseudonym.CF, "RSSMRA80A01H501"}, {pseudonym.Plate, "AA-000-AA"},
		{pseudonym.Badge, "secret|other"},
		{pseudonym.Badge, "caffè-secret"}, {pseudonym.Badge, ""}, {pseudonym.Badge, strings.Repeat("secret", 100)},
		{pseudonym.Badge, strings.Repeat("s", 65)},
		// upper case I, S in Unicode
		{pseudonym.CF, "RSSMRA80A01H50ıU"}, {pseudonym.CF, "RSſMRA80A01H501U"}, {pseudonym.CF, "RSSMRA80A01H501\u00a0"},
		{cf, pseudonym.CF}, {strings.ToLower(cf), pseudonym.CF}, {"Upper", "secret1"}, {"", "secret1"},
	} {
		got, err := maker(t, "site").Of(c[0], []byte(c[1]))
		if err == nil || got != "" {
			t.Errorf("%q: %q is accepted", c[0], c[1])
			continue
		}
		for _, secret := range []string{"secret", "rssmra", "aa-000", "3e9ae"} {
			if strings.Contains(strings.ToLower(err.Error()), secret) {
				t.Errorf("the error repeats the value: %v", err)
			}
		}
	}
	if _, err := pseudonym.Canonical(cf, []byte("cf")); err == nil ||
		!strings.Contains(err.Error(), "must be one of badge, cf, em4100, plate") {
		t.Errorf("swapped: %v", err)
	}
	for _, scope := range []string{"", "Site", "a|b", strings.Repeat("a", 65)} {
		if _, err := pseudonym.New(mustKey(t), scope); err == nil {
			t.Errorf("scope %q is accepted", scope)
		}
	}
	if _, err := pseudonym.New(pseudonym.Key{}, "site"); err == nil ||
		!strings.Contains(err.Error(), "openssl rand -hex 32") {
		t.Errorf("no key: %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.key")
	if err := os.WriteFile(file, []byte(counted+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := pseudonym.ReadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := pseudonym.New(key, "varco-03")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Of(pseudonym.Plate, []byte("AA000AA")); got != "d980d207c99cc1fb52d7548444828580" || err != nil {
		t.Errorf("with a key from a file: %s, %v", got, err)
	}
	for _, bad := range []string{"", counted[:62], counted + "00", strings.Replace(counted, "1f", "xy", 1),
		strings.Repeat("0", 64)} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pseudonym.ReadKey(file); err == nil || !strings.Contains(err.Error(), file) ||
			!strings.Contains(err.Error(), "openssl rand -hex 32") ||
			len(bad) > 8 && strings.Contains(err.Error(), bad[:8]) {
			t.Errorf("%d characters: %v", len(bad), err)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	if _, err := pseudonym.ReadKey(none); err == nil || !strings.Contains(err.Error(), none) ||
		!strings.Contains(err.Error(), "openssl rand -hex 32") {
		t.Errorf("a missing file: %v", err)
	}
}

// A key is in no output, whatever it is a part of.
func TestKeysDoNotPrint(t *testing.T) {
	key, m := mustKey(t), maker(t, "site")
	type inside struct {
		k     pseudonym.Key
		p     *pseudonym.Key
		m     *pseudonym.Maker
		K     pseudonym.Key
		M     *pseudonym.Maker
		value any
	}
	s := inside{key, &key, m, key, m, key}
	things := map[string]any{
		"key": key, "key by address": &key, "maker": *m, "maker by address": m, "inside": s, "inside by address": &s,
		"list": []pseudonym.Key{key}, "map": map[string]pseudonym.Key{"k": key}, "makers": []pseudonym.Maker{*m},
		"error": fmt.Errorf("key %v", key),
	}
	raw, err := hex.DecodeString(counted)
	if err != nil {
		t.Fatal(err)
	}
	// What a piece of the key would look like: hexadecimal, decimal, Go syntax, raw.
	shows := []string{"0a0b0c", "0A0B0C", "10 11 12", "0xa, 0xb", "0a 0b", string(raw[10:14]), `\n\v\f`, "CgsM",
		"[10,11,12"}
	check := func(how, text string) {
		t.Helper()
		for _, piece := range shows {
			if strings.Contains(text, piece) {
				t.Errorf("%s prints %q", how, text)
			}
		}
	}
	for name, x := range things {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "% x", "%b", "%o", "%c", "%U",
			"%T", "%p", "%t", "%e"} {
			check(name+" with "+verb, fmt.Sprintf(verb, x))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "x", x)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "x", x)
		text, _ := json.Marshal(x) // some of these cannot be encoded, which shows nothing either
		check(name+" in a log", log.String())
		check(name+" as JSON", string(text))
	}
	if got := fmt.Sprint(key); got != "[key]" {
		t.Errorf("a key prints as %q", got)
	}
}

// The canonical form of a canonical form is itself, and no error repeats what it is about.
func FuzzCanonical(f *testing.F) {
	f.Add("em4100", []byte("0063e9ae"))
	f.Add("cf", []byte("rssmra80a01h501u"))
	f.Add("badge", []byte("a b|c"))
	f.Add("RSSMRA80A01H501U", []byte("cf"))
	f.Fuzz(func(t *testing.T, kind string, value []byte) {
		once, err := pseudonym.Canonical(kind, value)
		if err != nil {
			const said = "unknown kind of identifier: must be one of badge, cf, em4100, plate: a character is not allowed bytes are too many must have characters (got)"
			for _, text := range []string{kind, string(value)} {
				if len(text) > 6 && strings.Contains(err.Error(), text) && !strings.Contains(said, text) {
					t.Fatalf("the error repeats %q: %v", text, err)
				}
			}
			return
		}
		if twice, err := pseudonym.Canonical(kind, once); err != nil || !bytes.Equal(twice, once) {
			t.Fatalf("%q became %q, then %q, %v", value, once, twice, err)
		}
	})
}
