package statefile

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// FuzzDecode holds that whatever lies in a file, what is taken from it was written by encode.
func FuzzDecode(f *testing.F) {
	const limit = 1 << 16
	f.Add(encode(1, []byte(`{"n":1}`)))
	f.Add(encode(2, []byte(strings.Repeat("z", 5000))))
	f.Add([]byte("bordo-state 1 18446744073709551615 gzip x\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		serial, content, err := decode(file, limit)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatal(err)
			}
			return
		}
		if len(content) > limit || !bytes.HasPrefix(file, []byte("bordo-state 1 ")) {
			t.Fatalf("took %d bytes", len(content))
		}
		again, same, err := decode(encode(serial, content), limit)
		if err != nil || again != serial || !bytes.Equal(same, content) {
			t.Fatalf("%d %q came back as %d %q, %v", serial, content, again, same, err)
		}
	})
}
