//go:build e2e

package sim_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"bordo/contract/foreign"
)

// The example builds as a module of its own, without network, and prints what the simulated meter holds.
func TestExampleModule(t *testing.T) {
	program := filepath.Join(t.TempDir(), "example-sim")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".")
	build.Dir = filepath.Join("..", "docs", "example-sim")
	build.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOPROXY=off", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\nAfter a change of go.mod, run GOFLAGS=-mod=mod go build -o /dev/null . in docs/example-sim.",
			err, out)
	}
	out := foreign.Run(t, "", exec.Command(program))
	if !regexp.MustCompile(`^line meters: serial\+tcp://127\.0\.0\.1:\d+\?baud=9600\S*\nmeter-1 import_energy: 1234\.5\d* kWh\n$`).MatchString(out) {
		t.Errorf("printed %q", out)
	}
}
