package buffer

import (
	"os"
	"path/filepath"
)

// fataler is the part of testing.T and rapid.T that the helpers use.
type fataler interface{ Fatal(...any) }

// damageFile damages a file: how is delete, truncate (at byte at), or zero or flip (16 bytes from at). Zero with an
// even at clears the whole file.
func damageFile(t fataler, path, how string, at int) {
	var err error
	switch how {
	case "delete":
		err = os.Remove(path)
	case "truncate":
		err = os.Truncate(path, int64(at))
	case "zero", "flip":
		var b []byte
		if b, err = os.ReadFile(path); err == nil && len(b) > 0 {
			for i := at; i < len(b) && i < at+16; i++ {
				if how == "flip" {
					b[i] ^= 0x55
				} else {
					b[i] = 0
				}
			}
			if how == "zero" && at%2 == 0 {
				clear(b)
			}
			err = os.WriteFile(path, b, 0o640)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copyDir copies a directory with all its files.
func copyDir(t fataler, from, to string) {
	err := filepath.WalkDir(from, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o750)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o640)
	})
	if err != nil {
		t.Fatal(err)
	}
}
