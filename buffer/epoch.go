package buffer

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"bordo/buffer/atomicfile"
)

// An epoch is 4 characters of the opening counter and 4 at random, base32 lower case without i, l, o and u. The counter
// alone would repeat after an SD card is restored from an image. The random half alone could repeat by chance.
const (
	epochLen     = 8
	epochAlpha   = "0123456789abcdefghjkmnpqrstvwxyz"
	epochCounter = 1 << 20 // 4 characters of 5 bits

	// unreportedMax bounds the epochs listed in the counter file.
	unreportedMax = 32
)

// makeEpoch returns the epoch of opening n: the counter modulo 2^20, then 20 random bits.
func makeEpoch(n uint64, rnd io.Reader) (string, error) {
	var raw [3]byte
	if _, err := io.ReadFull(rnd, raw[:]); err != nil {
		return "", fmt.Errorf("draw epoch: %w", err)
	}
	v := n%epochCounter<<20 | (uint64(raw[0])<<16|uint64(raw[1])<<8|uint64(raw[2]))&(1<<20-1)
	out := make([]byte, epochLen)
	for i := epochLen - 1; i >= 0; i-- {
		out[i] = epochAlpha[v&31]
		v >>= 5
	}
	return string(out), nil
}

// openings is the counter file: how often the store was opened, the epoch of the last opening, and the epochs of
// earlier openings that never completed a transaction.
type openings struct {
	n          uint64
	unreported []string
}

// add records an epoch that is not in the database yet.
func (o *openings) add(epoch string) {
	o.unreported = append(o.unreported, epoch)
	o.unreported = o.unreported[max(0, len(o.unreported)-unreportedMax):]
}

const counterName = "counter"

func (o openings) encode() []byte {
	return fmt.Appendf(nil, "%d %s\n", o.n, strings.Join(o.unreported, " "))
}

// readOpenings reads the counter file. From a missing or damaged file it returns whatever can be read: the random half
// of an epoch and the counters in the checkpoints replace the rest.
func readOpenings(dir string) (o openings) {
	b, err := os.ReadFile(filepath.Join(dir, counterName))
	if err != nil || len(b) > 4096 {
		return o
	}
	fields := strings.Fields(string(b))
	if len(fields) == 0 {
		return o
	}
	if _, err := fmt.Sscanf(fields[0], "%d", &o.n); err != nil {
		return openings{}
	}
	for _, f := range fields[1:] {
		if isEpoch(f) {
			o.unreported = append(o.unreported, f)
		}
	}
	return o
}

// isEpoch reports whether s has the form of an epoch.
func isEpoch(s string) bool {
	if len(s) != epochLen {
		return false
	}
	for i := range len(s) {
		if strings.IndexByte(epochAlpha, s[i]) < 0 {
			return false
		}
	}
	return true
}

// writeFile replaces dir/name so that after a power cut either the old or the new content is there.
func writeFile(dir, name string, content []byte) error {
	if err := atomicfile.Replace(filepath.Join(dir, name), content); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
