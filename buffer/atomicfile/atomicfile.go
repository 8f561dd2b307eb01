// Package atomicfile replaces small files atomically: after a power cut a file has either the complete old or the
// complete new content. It is below buffer because both the store and the agent's saved state use it, and buffer
// imports none of our packages outside its own tree.
//
// File formats, checksums and size limits are left to the callers.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Replace replaces the content of a file, or creates the file with mode 0640. When it returns nil, the new content is
// synced to disk under its final name. On error path keeps its old content, with one exception: if only the final fsync
// of the directory failed, path has the new content, which a power cut may still undo. A partial write stays behind as
// path with ".new" appended, and the next call overwrites it. Calls for the same path must not run concurrently.
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

// SyncDir syncs a directory, so that renames and removals in it survive a power cut.
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
