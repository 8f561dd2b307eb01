//go:build e2e

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each program writes a manual page for itself and for each of its commands, the same bytes each time.
func TestManualPages(t *testing.T) {
	for program, page := range map[string]string{"bordo": "bordo-scan", "bordoctl": "bordoctl-watch",
		"bordo-sim": "bordo-sim-serve"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			var made [2]string
			for i := range made {
				dir := t.TempDir()
				cmd := exec.Command("go", "run", "-tags", "manual", "bordo/cmd/"+program, "manual", dir)
				cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1790000000")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				files, err := filepath.Glob(filepath.Join(dir, "*.1"))
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range files {
					text, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					made[i] += filepath.Base(file) + "\n" + string(text)
				}
			}
			if made[0] != made[1] {
				t.Error("two runs give different pages")
			}
			for _, want := range []string{program + ".1\n", page + ".1\n", ".SH SYNOPSIS", "--lang"} {
				if program == "bordo-sim" && want == "--lang" {
					continue
				}
				if !strings.Contains(made[0], want) {
					t.Errorf("no %q in\n%.2000s", want, made[0])
				}
			}
		})
	}
}
