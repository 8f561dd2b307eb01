package foreign

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postgres is a server on a socket in its own directory. It listens on no port.
type Postgres struct{ dir, bin string }

// NewPostgres makes a database and starts its server, as user postgres when the test runs as root.
func NewPostgres(t testing.TB) Postgres {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("no PostgreSQL: make packages installs what tests need")
	}
	slices.Sort(found)
	dir, err := os.MkdirTemp("", "bordo-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := Postgres{dir, filepath.Dir(found[len(found)-1])}
	initdb := exec.Command(p.bin+"/initdb", "-D", dir+"/data", "-A", "trust", "-U", "bordo", "-E", "UTF8", "--locale=C",
		"--no-sync")
	server := exec.Command(p.bin+"/postgres", "-D", dir+"/data", "-k", dir, "-c", "listen_addresses=", "-F")
	if os.Getuid() == 0 { // which the server refuses to run as
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 != nil || err2 != nil || os.Chown(dir, uid, gid) != nil {
			t.Fatalf("give %s to postgres: %v, %v", dir, err1, err2)
		}
		for _, cmd := range []*exec.Cmd{initdb, server} {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
			cmd.Dir = dir
		}
	}
	Run(t, "", initdb)
	running := Start(t, server)
	t.Cleanup(func() { running.Stop(syscall.SIGTERM) }) // its own children end with it
	for end := time.Now().Add(Patience); exec.Command(p.bin+"/pg_isready", "-q", "-h", dir).Run() != nil; {
		select {
		case <-running.Done():
			t.Fatal("PostgreSQL ended")
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("PostgreSQL does not answer")
		}
	}
	return p
}

// SQL runs statements and returns the rows, fields separated by |.
func (p Postgres) SQL(t testing.TB, text string) string {
	t.Helper()
	out := Run(t, text, exec.Command(p.bin+"/psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", p.dir, "-U", "bordo",
		"postgres"))
	return strings.TrimSpace(out)
}
