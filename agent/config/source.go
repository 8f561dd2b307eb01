package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// source is what Load read, to detect later changes. Passwords, certificates and keys are not part of it: they are read
// again for each connection, so changing them needs no restart.
type source struct {
	file        string // absolute; "" for a configuration that Parse made
	profilesDir string // "" for none
	profiles    string // content of the profiles
}

// Changed names the files and directories whose content differs from what Load read. An unreadable file is an error:
// the next start would fail on it. A configuration returned by Parse never changes.
func (c *Config) Changed() (changed []string, err error) {
	if c.source.file == "" {
		return nil, nil
	}
	sum, err := SumOf(c.source.file)
	if err != nil {
		return nil, err
	}
	if sum != c.Sum {
		changed = append(changed, c.source.file)
	}
	if dir := c.source.profilesDir; dir != "" {
		now, err := sumOfProfiles(dir)
		if err != nil {
			return changed, err
		}
		if now != c.source.profiles {
			changed = append(changed, dir)
		}
	}
	return changed, nil
}

// Path is the absolute path of the file that Load read, "" for a configuration that Parse made.
func (c *Config) Path() string { return c.source.file }

// SumOf is the SHA-256 of a file, in hex: the Sum of the configuration that it would give.
func SumOf(path string) (string, error) {
	h := sha256.New()
	if err := addFile(h, path); err != nil {
		return "", fmt.Errorf("read configuration: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sumOfProfiles hashes names and contents of the profiles in a directory.
func sumOfProfiles(dir string) (string, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return "", fmt.Errorf("read profiles: %w", err)
	}
	h := sha256.New()
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".yaml" || strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		one := sha256.New()
		if err := addFile(one, filepath.Join(dir, e.Name())); err != nil {
			return "", fmt.Errorf("read profiles: %w", err)
		}
		fmt.Fprintf(h, "%q %x\n", e.Name(), one.Sum(nil))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func addFile(h io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(h, io.LimitReader(f, MaxFile+1))
	return cmp.Or(err, f.Close())
}
