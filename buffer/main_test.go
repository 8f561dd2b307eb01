package buffer

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain becomes the writer of the kill tests when asked to. It keeps the model tests short, and the same in each
// run, unless told otherwise: -rapid.checks=N draws N fresh cases.
func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		fmt.Fprintln(os.Stderr, "writer:", writer(dir))
		os.Exit(1)
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		for name, value := range map[string]string{"rapid.checks": "6", "rapid.seed": "1"} {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}
