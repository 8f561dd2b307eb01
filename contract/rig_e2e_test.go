//go:build e2e

package contract

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"bordo/contract/foreign"
)

// broker is a Mosquitto that logs the subscriptions it grants.
type broker struct{ *foreign.Mosquitto }

func newBroker(t *testing.T) broker {
	t.Helper()
	return broker{foreign.StartMosquitto(t, "log_dest stderr\nlog_type subscribe\n")}
}

// port is the broker's port as an argument of a program.
func (b broker) port() string { return strconv.Itoa(b.Port) }

// subscribed waits until a client listens on a topic.
func (b broker) subscribed(t *testing.T, client, topic string) {
	t.Helper()
	b.Says(t, client+" 1 "+topic)
}

// publish sends one message and waits for the broker's acknowledgement.
func (b broker) publish(t *testing.T, topic, payload string, retain bool) {
	t.Helper()
	args := []string{"-h", "127.0.0.1", "-p", b.port(), "-q", "1", "-t", topic, "-s"}
	if retain {
		args = append(args, "-r")
	}
	foreign.Run(t, payload, exec.Command("mosquitto_pub", args...))
}

// nodeModules is a directory with the JavaScript tests and the packages that they need.
func nodeModules(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("testdata/node/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, f := range append(files, "examples/live.mjs") {
		copyFile(t, f, filepath.Join(dir, filepath.Base(f)))
	}
	npm := exec.Command("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress",
		"--loglevel=error")
	npm.Dir = dir
	foreign.Run(t, "", npm)
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// absolute is a path for a program that runs elsewhere.
func absolute(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
