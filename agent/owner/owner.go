// Package owner explains why a process may not use its directory, in words that name the owner and the cure.
//
// It only looks: it changes no file. It knows nothing of what the directory holds.
package owner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Explain returns the text of err, extended by the owner of the file that causes it and what to do. dir is the
// directory that the process needs for itself, in which err occurred. It returns "" for nil.
func Explain(err error, dir string) string {
	return explain(err, dir, fmt.Sprintf("-R %s: %s", Me(), dir))
}

// ExplainState is Explain for the directory of the saved state, which may hold more than that.
func ExplainState(err error, dir string) string {
	return explain(err, dir, fmt.Sprintf("%s: %s %s", Me(), dir, filepath.Join(dir, "*.[12]")))
}

// explain is Explain with the argument for chown.
func explain(err error, dir, files string) string {
	if err == nil {
		return ""
	}
	missing := isMissing(dir)
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("%v. The file system is mounted read-only: look for the cause with dmesg, then mount it read-write again"+
			" or replace the SD card.", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Sprintf("%v. Free space or inodes: df -h %s, df -i %s.", err, existing(dir), existing(dir))
	case errors.Is(err, syscall.EIO):
		return fmt.Sprintf("%v. The SD card or disk fails or has lost contact: look with dmesg and replace it.", err)
	case missing && isUnusable(err):
		parent := existing(filepath.Dir(dir))
		return fmt.Sprintf("%v. %s is not there and cannot be made in %s, which belongs to %s. Mount the disk that should be there, or as"+
			" root: install -d -o %s %s", err, dir, parent, Of(parent), Me(), dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("%v. %s", err, blame(err, dir, files))
	}
	return err.Error()
}

// Missing reports whether err says that the directory is not there and could not be made.
func Missing(err error, dir string) bool {
	return err != nil && isMissing(dir) && isUnusable(err)
}

func isUnusable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func isMissing(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// blame says whose file cannot be used, and how to correct that. A directory above dir only has to be accessible: it
// may contain more than the files of the process.
func blame(err error, dir, files string) string {
	path := dir
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		path = p.Path
	}
	path = existing(path)
	uid, known := UID(path)
	switch {
	case path != dir && !strings.HasPrefix(path, dir+string(filepath.Separator)):
		return fmt.Sprintf("%s belongs to %s and does not let %s in. As root: chmod o+x %s", path, Of(path), Me(), path)
	case known && uid != os.Geteuid():
		return fmt.Sprintf("%s belongs to %s and the agent runs as %s. As root: chown %s", path, Of(path), Me(), files)
	}
	return fmt.Sprintf("%s belongs to %s, whose rights to it are not enough. As root: chmod -R u+rwX %s", path,
		Of(path), path)
}

// existing is the path, or the nearest directory above it that can be looked at.
func existing(path string) string {
	for {
		if _, err := os.Lstat(path); err == nil || filepath.Dir(path) == path {
			return path
		}
		path = filepath.Dir(path)
	}
}

// UID is the user id of the owner of a file, false when the file cannot be looked at.
func UID(path string) (int, bool) {
	fi, err := os.Lstat(path)
	if err != nil {
		return 0, false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

// Of names the owner of a file, "?" when it cannot be looked at.
func Of(path string) string {
	uid, ok := UID(path)
	if !ok {
		return "?"
	}
	return Name(uid)
}

// Me names the user that the process runs as.
func Me() string { return Name(os.Geteuid()) }

// Name is the name of a user, or the number of one without a name.
func Name(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// Foreign returns the first file below dir, including dir, that does not belong to uid; "" when there is none.
func Foreign(dir string, uid int) (path string) {
	_ = filepath.WalkDir(dir, func(p string, _ fs.DirEntry,
		err error) error { //nolint:errcheck // files vanish meanwhile
		if err != nil {
			return nil
		}
		if id, ok := UID(p); ok && id != uid {
			path = p
			return fs.SkipAll
		}
		return nil
	})
	return path
}

// RootIn returns a sentence when this process runs as root in a directory of another user, who cannot use what root
// creates there; "" otherwise.
func RootIn(dir string) string {
	uid, ok := UID(dir)
	if os.Geteuid() != 0 || !ok || uid == 0 {
		return ""
	}
	name := Name(uid)
	return fmt.Sprintf("the agent runs as root and %s belongs to %s, who cannot use the files that root makes. Stop it, and as root:"+
		" chown -R %s: %s", dir, name, name, dir)
}
