package owner

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Each cause is told with what gives the directory back.
func TestExplain(t *testing.T) {
	dir := t.TempDir()
	file, absent := filepath.Join(dir, "file"), filepath.Join(dir, "absent", "store")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(path string, err error) error {
		return fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	for name, c := range map[string]struct {
		err  error
		dir  string
		want []string
	}{
		"read-only": {at(file, syscall.EROFS), dir, []string{"mounted read-only", "dmesg"}},
		"full":      {at(file, syscall.ENOSPC), dir, []string{"df -h " + dir, "df -i " + dir}},
		"broken":    {at(file, syscall.EIO), dir, []string{"fails or has lost contact", "replace it"}},
		"not there": {at(absent, syscall.EACCES), absent,
			[]string{absent + " is not there", "cannot be made in " + dir, "install -d -o " + Me()}},
		"below a file": {at(file+"/store", syscall.ENOTDIR), file + "/store",
			[]string{"is not there", "Mount the disk"}},
		"own file": {at(file, syscall.EACCES), dir,
			[]string{file + " belongs to " + Me(), "chmod -R u+rwX " + file}},
		"root's file": {at("/proc/1/mem", syscall.EACCES), "/proc/1", []string{"/proc/1/mem belongs to "}},
		"closed above": {at("/proc/none/store", syscall.EACCES), "/proc/self",
			[]string{"/proc belongs to root and does not let", "chmod o+x /proc"}},
		"anything other": {at(file, syscall.EINVAL), dir, []string{"invalid argument"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Explain(c.err, c.dir)
			for _, want := range append(c.want, c.err.Error()) {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in %q", want, got)
				}
			}
		})
	}
	if Explain(nil, dir) != "" {
		t.Error("nothing is explained")
	}
}

// Files of another user than the given one are found, dir itself included.
func TestForeign(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Foreign(dir, os.Geteuid()); got != "" {
		t.Errorf("%s is taken for somebody else's", got)
	}
	if got := Foreign(dir, os.Geteuid()+1); got != dir {
		t.Errorf("found %q", got)
	}
	if got := RootIn(dir); got != "" {
		t.Errorf("its own directory: %s", got)
	}
}
