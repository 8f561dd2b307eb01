// Package statefile stores the small files that outlive the agent: learned state, counts and confirmations, a few
// kilobytes each, in one directory.
//
// It promises that a power cut at any moment leaves the content from before or after a Save, never a mixture; that a
// damaged file is detected, set aside and never used, and replaced by its previous generation; and that flash is
// written only when something has changed. It is not for data that must not be lost: records belong in the buffer.
package statefile

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sync"

	"bordo/buffer/atomicfile"
)

// Limits of one file.
const (
	// DefaultMaxSize is the largest content, in bytes of JSON, unless Options say otherwise.
	DefaultMaxSize = 4 << 20
	// page is what a file system writes at least: below it, packing saves nothing.
	page = 4096
	// headMax is more than the first line of a file can have.
	headMax = 128
)

// ErrOlder comes with content that was read completely but may not be the last that was saved: the other file was
// damaged, and it is unknown which was newer. Callers that can use the state of one Save ago may ignore it.
var ErrOlder = errors.New("older generation")

// Options are what a Dir can do without. The zero value works.
type Options struct {
	Logger  *slog.Logger // receives messages about damaged files; nil: none
	MaxSize int          // bytes of JSON of one content; 0: DefaultMaxSize
}

// Dir is a directory of small files. Its methods may be called concurrently; they take turns.
type Dir struct {
	path string
	log  *slog.Logger
	max  int

	turn  sync.Mutex            // held over one Load or Save
	names map[string]generation // the newest known generation of each name
}

// generation is what is on disk under one name.
type generation struct {
	serial uint64
	sum    [sha256.Size]byte // of the content; zero: it has to be written again
}

// New prepares a directory; it is made by the first Save.
func New(path string, o Options) *Dir {
	d := &Dir{path: path, log: o.Logger, max: o.MaxSize, names: map[string]generation{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.max <= 0 {
		d.max = DefaultMaxSize
	}
	return d
}

// nameForm is the form of a name, which has at most maxName characters.
var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

const maxName = 40

func named(name string) bool { return len(name) <= maxName && nameForm.MatchString(name) }

// Load reads what was last saved under name into v, a pointer. When there is nothing, v becomes the zero value and the
// error is nil: a first start and a lost file look alike. A damaged file is renamed to name.N.damaged, logged, and
// treated as missing; Load then returns the previous generation with ErrOlder. Any other error means that the directory
// cannot be read.
func (d *Dir) Load(name string, v any) error {
	target := reflect.ValueOf(v)
	if !named(name) || target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("load state %q: no such name or no pointer", name)
	}
	d.turn.Lock()
	defer d.turn.Unlock()
	target.Elem().SetZero()
	fresh := reflect.New(target.Type().Elem())
	g, content, damaged, err := d.newest(name, func(content []byte) error {
		fresh.Elem().SetZero()
		return json.Unmarshal(content, fresh.Interface())
	})
	if err != nil {
		return fmt.Errorf("load state %s: %w", name, err)
	}
	if content == nil {
		return nil
	}
	if err := json.Unmarshal(content, fresh.Interface()); err != nil {
		return fmt.Errorf("load state %s: %w", name, err)
	}
	target.Elem().Set(fresh.Elem())
	if damaged {
		g.sum = [sha256.Size]byte{} // the next Save gives back the second copy, even of the same content
	}
	d.names[name] = g
	if damaged {
		return fmt.Errorf("load state %s: %w", name, ErrOlder)
	}
	return nil
}

// newest finds the newest complete generation that check accepts. It sets other files aside; damaged reports whether
// there was one. content is nil when none is left.
func (d *Dir) newest(name string, check func([]byte) error) (g generation, content []byte, damaged bool, err error) {
	for slot := range uint64(2) {
		file := d.slot(name, slot)
		serial, c, err := d.read(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			if cerr := check(c); cerr != nil {
				err = fmt.Errorf("%w: %w", errDamaged, cerr)
			}
		}
		switch {
		case errors.Is(err, errDamaged):
			damaged = true
			d.setAside(file, err)
		case err != nil:
			return generation{}, nil, false, err
		case content == nil || serial > g.serial:
			g, content = generation{serial, sha256.Sum256(c)}, c
		}
	}
	return g, content, damaged, nil
}

// setAside renames a damaged file. It overwrites one that was set aside before: there is never more than one per file.
func (d *Dir) setAside(file string, why error) {
	aside := file + ".damaged"
	if err := os.Rename(file, aside); err != nil {
		d.log.Error("set aside damaged state", "file", file, "err", err)
		return
	}
	d.log.Warn("state file is damaged and was set aside", "file", file, "aside", aside, "err", why)
}

// Save stores v as JSON under name. When Save returns nil, the content survives a power cut. Content equal to the last
// one touches no file. The previous generation is kept. Content above the limit is refused.
func (d *Dir) Save(name string, v any) error {
	if !named(name) {
		return fmt.Errorf("save state %q: no such name", name)
	}
	content, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("save state %s: %w", name, err)
	}
	if len(content) > d.max {
		return fmt.Errorf("save state %s: %d bytes are more than %d", name, len(content), d.max)
	}
	d.turn.Lock()
	defer d.turn.Unlock()
	g, known := d.names[name]
	if !known { // never loaded: the serials on the disk still have to be passed
		if g, _, _, err = d.newest(name, func([]byte) error { return nil }); err != nil {
			return fmt.Errorf("save state %s: %w", name, err)
		}
		g.sum = [sha256.Size]byte{}
	}
	sum := sha256.Sum256(content)
	if sum == g.sum {
		return nil
	}
	if err := os.MkdirAll(d.path, 0o750); err != nil {
		return fmt.Errorf("save state %s: %w", name, err)
	}
	serial := g.serial + 1
	if err := atomicfile.Replace(d.slot(name, serial%2), encode(serial, content)); err != nil {
		return fmt.Errorf("save state %s: %w", name, err)
	}
	d.names[name] = generation{serial, sum}
	return nil
}

// slot is one of the two files of a name; generations take them in turn.
func (d *Dir) slot(name string, n uint64) string {
	return filepath.Join(d.path, fmt.Sprintf("%s.%d", name, n+1))
}

// A file is one line and the content:
//
//	bordo-state 1 <serial> <plain|gzip> <SHA-256 over serial, packing and what follows, hex>\n
//	<JSON>
//
// It can be read by a person, packed with zcat, and no part of it can change unnoticed.
const headForm = "bordo-state 1 %d %s %s\n"

// errDamaged is in the tree of every error about a file with altered content.
var errDamaged = errors.New("damaged")

func bodySum(serial uint64, packing string, body []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s\n", serial, packing) //nolint:errcheck // a hash takes everything
	h.Write(body)                              //nolint:errcheck // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}

func encode(serial uint64, content []byte) []byte {
	packing, body := "plain", content
	if len(content) > page {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(content); err == nil && w.Close() == nil && b.Len() < len(content) {
			packing, body = "gzip", b.Bytes()
		}
	}
	return append(fmt.Appendf(nil, headForm, serial, packing, bodySum(serial, packing, body)), body...)
}

// read reads one file. Its error matches fs.ErrNotExist or errDamaged, or the file cannot be read at all.
func (d *Dir) read(file string) (serial uint64, content []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	all, err := io.ReadAll(io.LimitReader(f, int64(d.max)+headMax+1))
	if err != nil {
		// A card that cannot give a sector back says so here; nothing of the file can be had.
		return 0, nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return decode(all, d.max)
}

func decode(all []byte, limit int) (serial uint64, content []byte, err error) {
	end := bytes.IndexByte(all[:min(len(all), headMax)], '\n')
	if end < 0 {
		return 0, nil, fmt.Errorf("%w: no first line in %d bytes", errDamaged, len(all))
	}
	var packing, sum string
	if _, err := fmt.Sscanf(string(all[:end+1]), headForm, &serial, &packing, &sum); err != nil {
		return 0, nil, fmt.Errorf("%w: first line: %w", errDamaged, err)
	}
	body := all[end+1:]
	head := fmt.Sprintf(headForm, serial, packing, sum)
	if head != string(all[:end+1]) || sum != bodySum(serial, packing, body) {
		return 0, nil, fmt.Errorf("%w: the checksum does not fit", errDamaged)
	}
	if packing == "plain" {
		return serial, body, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	content, err = io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if len(content) > limit {
		return 0, nil, fmt.Errorf("%w: more than %d bytes unpacked", errDamaged, limit)
	}
	return serial, content, nil
}
