package buffer

import (
	"flag"
	"os"
	"testing"
)

// TestMain keeps the model tests short unless told otherwise; -rapid.checks=N draws more cases.
func TestMain(m *testing.M) {
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
