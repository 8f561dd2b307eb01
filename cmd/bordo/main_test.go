//go:build !e2e

package main

import (
	"os"
	"testing"
)

// TestMain makes English the language of the tests that do not ask for another one, wherever they run.
func TestMain(m *testing.M) {
	if err := os.Setenv("LC_ALL", "C"); err != nil {
		panic(err) // a name without an equals sign is taken
	}
	os.Exit(m.Run())
}
