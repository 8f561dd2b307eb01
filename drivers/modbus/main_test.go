package modbus

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain reports faults in profiles before any test runs. With a fault there is no driver, and every test
// would fail in its own way.
func TestMain(m *testing.M) {
	flag.Parse()
	files, err := embedded.ReadDir("profiles")
	if err != nil {
		panic(err)
	}
	wrong := false
	for _, f := range files {
		p, err := loadEmbedded(f.Name(), loadOther)
		switch {
		case err != nil:
			fmt.Println(err)
		case !*update && !bytes.Contains(index, []byte(`"`+p.Model+`"`)):
			fmt.Printf("profiles/%s is not in profiles/models.json: make generate\n", f.Name())
		default:
			continue
		}
		wrong = true
	}
	if wrong {
		os.Exit(1)
	}
	os.Exit(m.Run())
}
