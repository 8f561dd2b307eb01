package statefile_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bordo/agent/statefile"
)

type state struct {
	N    int               `json:"n"`
	Text string            `json:"text,omitempty"`
	M    map[string]string `json:"m,omitempty"`
}

// files lists a directory with the content of each file.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func save(t *testing.T, d *statefile.Dir, s state) {
	t.Helper()
	if err := d.Save("energy", s); err != nil {
		t.Fatal(err)
	}
}

// expect loads with a new Dir, as after a start.
func expect(t *testing.T, dir string, n int, want error) {
	t.Helper()
	s := state{N: 99}
	if err := statefile.New(dir, statefile.Options{}).Load("energy", &s); !errors.Is(err, want) || err != nil &&
		want == nil {
		t.Fatalf("got error %v, want %v", err, want)
	}
	if s.N != n {
		t.Fatalf("got generation %d, want %d", s.N, n)
	}
}

func TestSavedIsLoaded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	expect(t, dir, 0, nil)
	d := statefile.New(dir, statefile.Options{})
	for n := 1; n <= 5; n++ {
		save(t, d, state{N: n, M: map[string]string{"b": "2", "a": "1"}})
		expect(t, dir, n, nil)
	}
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("files: %q", got)
	}
	// A second Dir goes on where the first one was, whether it has loaded or not.
	save(t, statefile.New(dir, statefile.Options{}), state{N: 6})
	expect(t, dir, 6, nil)
	var s state
	d = statefile.New(dir, statefile.Options{})
	if err := d.Load("energy", &s); err != nil {
		t.Fatal(err)
	}
	save(t, d, state{N: 7})
	expect(t, dir, 7, nil)
	if err := d.Save("clock", state{N: 1}); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, 7, nil)
}

func TestFileCanBeReadByPeople(t *testing.T) {
	dir := t.TempDir()
	save(t, statefile.New(dir, statefile.Options{}), state{N: 1, Text: "città"})
	// printf '1 plain\n{"n":1,"text":"città"}' | sha256sum
	want := "bordo-state 1 1 plain 0854324a1d04b6e0511d524598f17b82de0964191691a31fe1cc2d46ff66cd43\n{\"n\":1,\"text\":\"città\"}"
	if got := files(t, dir)["energy.2"]; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSameContentIsNotWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	d := statefile.New(dir, statefile.Options{})
	save(t, d, state{N: 1})
	save(t, d, state{N: 2})
	before := files(t, dir)
	old := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name := range before {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	untouched := func() {
		t.Helper()
		if got := files(t, dir); len(got) != len(before) {
			t.Fatalf("files: %q", got)
		}
		for name, content := range files(t, dir) {
			st, err := os.Stat(filepath.Join(dir, name))
			if err != nil || !st.ModTime().Equal(old) || content != before[name] {
				t.Fatalf("%s was written: %v", name, err)
			}
		}
	}
	for range 3 {
		save(t, d, state{N: 2})
		untouched()
	}
	d = statefile.New(dir, statefile.Options{})
	var s state
	if err := d.Load("energy", &s); err != nil {
		t.Fatal(err)
	}
	save(t, d, s)
	untouched()
	save(t, d, state{N: 1}) // equal to the one before the last: that is a change
	expect(t, dir, 1, nil)
}

func TestLargeContentIsPacked(t *testing.T) {
	dir := t.TempDir()
	d := statefile.New(dir, statefile.Options{MaxSize: 100_000})
	save(t, d, state{N: 1, Text: strings.Repeat("quarto d'ora ", 5000)})
	expect(t, dir, 1, nil)
	if n := len(files(t, dir)["energy.2"]); n > 2000 {
		t.Errorf("65 kB of the same words take %d bytes", n)
	}
	var s state
	if err := statefile.New(dir, statefile.Options{}).Load("energy", &s); err != nil || len(s.Text) != 65000 {
		t.Errorf("%v, %d characters", err, len(s.Text))
	}
	if err := d.Save("energy", state{N: 2, Text: strings.Repeat("x", 100_000)}); err == nil {
		t.Error("more than the limit was saved")
	}
	expect(t, dir, 1, nil)
	// What unpacks to more than is allowed is not unpacked.
	s = state{N: 99}
	if err := statefile.New(dir, statefile.Options{MaxSize: 50_000}).Load("energy", &s); err != nil || s.N != 0 {
		t.Errorf("%v, %d", err, s.N)
	}
}

// damages are what can become of a file.
func damages(content string) map[string]string {
	out := map[string]string{"empty": "", "doubled": content + content, "one byte more": content + "\n"}
	for i := range len(content) {
		flipped := []byte(content)
		flipped[i] ^= 1 << (i % 8)
		out[fmt.Sprintf("bit flipped at %d", i)] = string(flipped)
		out[fmt.Sprintf("cut at %d", i)] = content[:i]
		if strings.Trim(content[i:], "\x00") != "" {
			out[fmt.Sprintf("zero from %d", i)] = content[:i] + strings.Repeat("\x00", len(content)-i)
		}
	}
	return out
}

func TestDamageOfOneFile(t *testing.T) {
	for _, packed := range []bool{false, true} {
		text := "plain"
		if packed {
			text = strings.Repeat("y", 5000)
		}
		dir := t.TempDir()
		d := statefile.New(dir, statefile.Options{})
		save(t, d, state{N: 1, Text: text})
		save(t, d, state{N: 2, Text: text})
		whole := files(t, dir)
		for victim, other := range map[string]int{"energy.1": 1, "energy.2": 2} { // what is left when it is gone
			for what, content := range damages(whole[victim]) {
				for name, c := range whole {
					if name == victim {
						c = content
					}
					if err := os.WriteFile(filepath.Join(dir, name), []byte(c), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				var log bytes.Buffer
				d := statefile.New(dir, statefile.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				var s state
				if err := d.Load("energy", &s); !errors.Is(err, statefile.ErrOlder) || s.N != other || s.Text != text {
					t.Fatalf("%s of %s: %v, generation %d", what, victim, err, s.N)
				}
				if n := strings.Count(log.String(), "state file is damaged"); n != 1 ||
					!strings.Contains(log.String(), victim) {
					t.Fatalf("%s of %s: log: %s", what, victim, log.String())
				}
				if got := files(t, dir); got[victim+".damaged"] != content || got[victim] != "" {
					t.Fatalf("%s of %s: not set aside", what, victim)
				}
				if len(content)%64 != 0 { // each save waits for the disk
					continue
				}
				// Saving the same again makes two of it, and the damaged one never counts again.
				save(t, d, s)
				expect(t, dir, other, nil)
				if got := files(t, dir); got["energy.1"] == "" || got["energy.2"] == "" {
					t.Fatalf("%s of %s: files: %q", what, victim, got)
				}
			}
		}
	}
}

func TestDamageOfBoth(t *testing.T) {
	dir := t.TempDir()
	d := statefile.New(dir, statefile.Options{})
	save(t, d, state{N: 1})
	save(t, d, state{N: 2})
	for _, name := range []string{"energy.1", "energy.2"} {
		if err := os.Truncate(filepath.Join(dir, name), 20); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, dir, 0, nil)
	d = statefile.New(dir, statefile.Options{})
	save(t, d, state{N: 3})
	expect(t, dir, 3, nil)
}

func TestLeftOverIsHarmless(t *testing.T) {
	dir := t.TempDir()
	d := statefile.New(dir, statefile.Options{})
	save(t, d, state{N: 1})
	// A power cut between writing and renaming leaves a whole or a torn file beside the two.
	for _, left := range []string{"", "bordo-state 1 9 pl", files(t, dir)["energy.2"]} {
		if err := os.WriteFile(filepath.Join(dir, "energy.1.new"), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, dir, 1, nil)
	}
	save(t, d, state{N: 2})
	expect(t, dir, 2, nil)
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("files: %q", got)
	}
}

func TestContentOfAnotherShape(t *testing.T) {
	dir := t.TempDir()
	d := statefile.New(dir, statefile.Options{})
	save(t, d, state{N: 1})
	if err := d.Save("energy", []int{1, 2}); err != nil { // as a later version might
		t.Fatal(err)
	}
	expect(t, dir, 1, statefile.ErrOlder)
	if err := d.Save("energy", map[string]any{"n": 5, "new_key": true}); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, 5, nil)
}

func TestFaults(t *testing.T) {
	dir := t.TempDir()
	d := statefile.New(dir, statefile.Options{})
	var s state
	for _, name := range []string{"", "A", "../up", "a.b", "-a", strings.Repeat("a", 41)} {
		if err := d.Save(name, s); err == nil {
			t.Errorf("name %q was saved", name)
		}
		if err := d.Load(name, &s); err == nil {
			t.Errorf("name %q was loaded", name)
		}
	}
	for _, target := range []any{nil, s, (*state)(nil)} {
		if err := d.Load("energy", target); err == nil {
			t.Errorf("loaded into %T", target)
		}
	}
	if err := d.Save("energy", func() {}); err == nil {
		t.Error("a function was saved")
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files: %q", got)
	}
	// Where the directory should be is a file: told, and nothing else happens.
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	below := statefile.New(file, statefile.Options{})
	if err := below.Load("energy", &s); err == nil {
		t.Error("loaded from below a file")
	}
	if err := below.Save("energy", s); err == nil {
		t.Error("saved below a file")
	}
	// A directory in the place of a file is damage like any other.
	if err := os.Mkdir(filepath.Join(dir, "energy.1"), 0o700); err != nil {
		t.Fatal(err)
	}
	expect(t, dir, 0, nil)
	save(t, d, state{N: 1})
	save(t, d, state{N: 2})
	expect(t, dir, 2, nil)
	names := []string{}
	for name := range map[string]bool{"energy.1": true, "energy.2": true} {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	if slices.Sort(names); len(names) != 2 {
		t.Errorf("files: %q", names)
	}
}

// TestSeveralAtOnce is for the race detector; at the end the last content counts.
func TestSeveralAtOnce(t *testing.T) {
	d := statefile.New(t.TempDir(), statefile.Options{})
	done := make(chan error)
	for g := range 4 {
		go func() {
			name := []string{"energy", "clock"}[g%2]
			for n := range 20 {
				var s state
				if err := errors.Join(d.Save(name, state{N: n*4 + g}), d.Load(name, &s)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
