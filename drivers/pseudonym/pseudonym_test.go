package pseudonym_test

import (
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
	key, err := pseudonym.ParseKey(counted)
	if err != nil {
		t.Fatal(err)
	}
	m, err := pseudonym.New(key, scope)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The expected values were computed by another implementation of HMAC-SHA-256 (OpenSSL).
func TestVectors(t *testing.T) {
	for _, c := range []struct{ scope, kind, value, want string }{
		{"ecopiazzola-07", pseudonym.CF, "RSSMRA80A01H501U", "6d66cc629ced552fc6f40dc9fc567c08"},
		{"ecopiazzola-07", pseudonym.CF, " rssmra 80a01 h501u\n", "6d66cc629ced552fc6f40dc9fc567c08"},
		{"ecopiazzola-07", pseudonym.EM4100, pseudonym.CardNumber(6547886), "4cb69b62040bf99f20dbae975c9bd4e3"},
		{"ecopiazzola-07", pseudonym.EM4100, "0063e9ae", "4cb69b62040bf99f20dbae975c9bd4e3"},
		{"varco-03", pseudonym.Plate, "AA 000 AA", "d980d207c99cc1fb52d7548444828580"},
	} {
		if got, err := maker(t, c.scope).Of(c.kind, c.value); got != c.want || err != nil {
			t.Errorf("%s %s: %s, %v; want %s", c.scope, c.kind, got, err, c.want)
		}
	}
	a, _ := maker(t, "a").Of("badge", "1")
	b, _ := maker(t, "b").Of("badge", "1")
	c, _ := maker(t, "a").Of("other", "1")
	if a == b || a == c || len(a) != pseudonym.Size {
		t.Errorf("%s, %s, %s: scope and kind do not separate", a, b, c)
	}
}

func TestRefusals(t *testing.T) {
	for kind, value := range map[string]string{
		pseudonym.EM4100: "01006 3E9AE9", pseudonym.CF: "RSSMRA80A01H501", pseudonym.Plate: "AA-000-AA", "badge": "secret|other", "x": "caffè-secret", "y": "",
		"Upper": "secret1", "long": strings.Repeat("secret", 50),
	} {
		got, err := maker(t, "site").Of(kind, value)
		if err == nil || got != "" {
			t.Errorf("%s: %q is accepted", kind, value)
		} else if len(value) > 3 && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(strings.TrimSpace(value))) {
			t.Errorf("%s: the error repeats the value: %v", kind, err)
		}
	}
	for _, scope := range []string{"", "Site", "a|b", strings.Repeat("a", 65)} {
		if _, err := pseudonym.New(mustKey(t), scope); err == nil {
			t.Errorf("scope %q is accepted", scope)
		}
	}
	if _, err := pseudonym.New(pseudonym.Key{}, "site"); err == nil {
		t.Error("no key is accepted")
	}
}

func mustKey(t *testing.T) pseudonym.Key {
	t.Helper()
	k, err := pseudonym.ParseKey(counted)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.key")
	if err := os.WriteFile(file, []byte(counted+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := pseudonym.ReadKey(file)
	if err != nil || key != mustKey(t) {
		t.Errorf("read: %v", err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", key, "made", fmt.Sprintf("%v %+v %#v %s", key, key, key, key))
	if text := log.String(); strings.Contains(text, "0001") || strings.Contains(text, "1 2 3") || strings.Contains(text, "0x1") {
		t.Errorf("a key is printed: %s", text)
	}
	for _, bad := range []string{"", counted[:62], counted + "00", strings.Replace(counted, "1f", "xy", 1), strings.Repeat("0", 64)} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pseudonym.ReadKey(file); err == nil || !strings.Contains(err.Error(), file) || len(bad) > 8 && strings.Contains(err.Error(), bad[:8]) {
			t.Errorf("%d characters: %v", len(bad), err)
		}
	}
	if _, err := pseudonym.ReadKey(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file is a key")
	}
}

// The canonical form of a canonical form is itself, and no error repeats what it is about.
func FuzzCanonical(f *testing.F) {
	f.Add("em4100", "0063e9ae")
	f.Add("cf", "rssmra80a01h501u")
	f.Add("badge", "a b|c")
	f.Fuzz(func(t *testing.T, kind, value string) {
		once, err := pseudonym.Canonical(kind, value)
		if err != nil {
			if len(value) > 12 && !strings.Contains(kind, value) && strings.Contains(err.Error(), value) {
				t.Fatalf("the error repeats the value: %v", err)
			}
			return
		}
		if twice, err := pseudonym.Canonical(kind, once); err != nil || twice != once {
			t.Fatalf("%q became %q, then %q, %v", value, once, twice, err)
		}
	})
}
