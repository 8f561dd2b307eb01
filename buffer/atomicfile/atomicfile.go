// Package atomicfile replaces small files so that a power cut leaves either the old content or the new one, whole. It lies
// below buffer because the store and the agent's saved state both need it, and buffer imports nothing of ours outside its tree.
//
// It leaves formats, checksums and the limits of sizes to its users.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Replace puts content in place of a file, or makes it with mode 0640. When it returns nil the content is on the disk under
// its name. When it fails, path holds what it held before, except when the last step failed, the directory's fsync: then it
// holds the new content, which a power cut may still undo. What is half written stays as path with ".new" appended, and the next
// call overwrites it. Two calls for one path must not run at once.
func Replace(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the renames and removals in a directory survive a power cut.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
