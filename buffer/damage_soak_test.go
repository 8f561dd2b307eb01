//go:build soak

package buffer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestEveryPair damages each pair of files, each in a way chosen by the seed.
func TestEveryPair(t *testing.T) {
	for _, crashed := range []bool{false, true} {
		p := makeSample(t, crashed)
		files := p.files(t)
		for i := range files {
			for j := range i {
				for seed := range uint64(8) {
					t.Run(fmt.Sprintf("crashed=%v/%s+%s/%d", crashed, files[i], files[j], seed), func(t *testing.T) {
						rnd := rand.New(rand.NewPCG(seed, uint64(i*1000+j)))
						dir := filepath.Join(memDir(t), "s")
						copyDir(t, p.dir, dir)
						for _, name := range []string{files[i], files[j]} {
							path := filepath.Join(dir, name)
							fi, err := os.Stat(path)
							if err != nil {
								t.Fatal(err)
							}
							way := ways[rnd.IntN(len(ways))]
							t.Logf("%s %s", name, way.name)
							damageFile(t, path, way.how, way.at(int(fi.Size())))
						}
						p.check(t, dir)
					})
				}
			}
		}
	}
}
