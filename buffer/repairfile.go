package buffer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	badger "github.com/dgraph-io/badger/v4"
)

// Sizes in the files of Badger 4. The header of a log is a key id of 8 bytes (0 without encryption) and 12 random
// bytes. An entry is at most 22 bytes of header, the key, the value and a CRC-32C.
const (
	logHeader = 20
	keyMax    = 1 << 16
)

// registryText follows 16 random bytes in the key registry of an unencrypted Badger database.
const registryText = "Hello Badger"

// repairFile examines one of the smaller files. Badger fails on damage there, or reserves gigabytes when a length in a
// log is damaged, instead of continuing without the file.
func (f *repairReport) repairFile(dir, path string) error {
	b, err := os.ReadFile(path)
	if err != nil && (!isReadError(err) || f.isTransient(err)) {
		return fmt.Errorf("examine %s: %w", filepath.Base(path), err)
	}
	switch { // b is empty if read errors have lasted too long
	case filepath.Base(path) == badger.KeyRegistryFileName:
		if !registryGood(b) {
			return f.remove(path)
		}
	case strings.HasSuffix(path, ".vlog"):
		// All values are inline, so the value log is empty. Badger creates a missing one.
		if !logHeaderGood(b) || len(bytes.Trim(b[logHeader:], "\x00")) > 0 {
			return f.remove(path)
		}
	case strings.HasSuffix(path, ".mem"):
		if !logHeaderGood(b) {
			f.note("%s has no header", filepath.Base(path))
			return f.setAside(dir, path)
		}
		if end := logEnd(b); end < len(b) {
			if err := os.Truncate(path, int64(end)); err != nil {
				return fmt.Errorf("cut %s: %w", filepath.Base(path), err)
			}
		}
	}
	return nil
}

// remove deletes a damaged file that contains no records.
func (f *repairReport) remove(path string) error {
	f.damage = append(f.damage, filepath.Base(path))
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove damaged %s: %w", filepath.Base(path), err)
	}
	return nil
}

// registryGood reports whether b is the key registry of an unencrypted database.
func registryGood(b []byte) bool {
	return len(b) == 16+len(registryText) && bytes.HasSuffix(b, []byte(registryText))
}

// logHeaderGood reports whether b begins with the header of an unencrypted log.
func logHeaderGood(b []byte) bool {
	return len(b) >= logHeader && binary.BigEndian.Uint64(b) == 0
}

// logEnd returns where Badger would stop reading a log that consists of whole entries: at zeros, or at an entry with a
// wrong checksum. Badger handles an unfinished transaction before that itself.
func logEnd(b []byte) int {
	at := logHeader
	for {
		rest := b[at:]
		if len(rest) < 2 {
			return at
		}
		r := &reader{b: rest[2:]} // two bytes of flags
		key, value := r.uvarint(), r.uvarint()
		r.uvarint() // expiry
		if key == 0 && value == 0 {
			return len(b) // zeros: the file is longer than the log
		}
		size := uint64(len(rest)-len(r.b)) + key + value
		if r.err != nil || key > keyMax || value > uint64(len(rest)) || size+4 > uint64(len(rest)) {
			return at
		}
		if crc32.Checksum(rest[:size], castagnoli) != binary.BigEndian.Uint32(rest[size:]) || key < 8 {
			return at
		}
		if version := ^binary.BigEndian.Uint64(r.b[key-8:]); version > versionMax {
			return at
		}
		at += int(size) + 4
	}
}
