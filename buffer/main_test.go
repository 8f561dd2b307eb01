package buffer

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain runs the writer of the kill tests when the environment asks for it. Otherwise it keeps the model tests short
// and repeatable. -rapid.checks=N draws N new cases instead.
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
