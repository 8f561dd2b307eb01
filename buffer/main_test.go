package buffer

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain becomes the writer of the kill tests when asked to. It keeps the model tests short unless told otherwise;
// -rapid.checks=N draws more cases.
func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		fmt.Fprintln(os.Stderr, "writer:", writer(dir))
		os.Exit(1)
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "6"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
