//go:build world

package sim_test

import (
	"errors"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// page is how much the smallest write to a flash is.
const page = 4096

// card counts what is written below a directory, from outside: at each look, every page that is not what it was, or was not
// there. A page that is written several times between two looks counts once, as it does when the kernel writes it back.
type card struct {
	dir   string
	seed  maphash.Seed
	pages map[string][]uint64
	total atomic.Uint64
}

func newCard(dir string) *card {
	return &card{dir: dir, seed: maphash.MakeSeed(), pages: map[string][]uint64{}}
}

// written has the signature of the agent's System.Written.
func (c *card) written() (uint64, error) { return c.total.Load(), nil }

// look counts what was written since the last look, and returns all that was written.
func (c *card) look(t *testing.T) int64 {
	t.Helper()
	empty := maphash.Bytes(c.seed, make([]byte, page))
	now := make(map[string][]uint64, len(c.pages))
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		before := c.pages[path]
		for at := 0; at < len(text); at += page {
			sum := maphash.Bytes(c.seed, text[at:min(at+page, len(text))])
			n := len(now[path])
			now[path] = append(now[path], sum)
			if n < len(before) && before[n] != sum || n >= len(before) && sum != empty { // a hole takes nothing
				c.total.Add(page)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.pages = now
	return int64(c.total.Load())
}
