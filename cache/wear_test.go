package cache

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkWear is how a store lives with updates, one entry of 500 changes at a time:
// what its files come to in each tenth of the run, and what is written to the disk for
// each change. Every shard of 5 million records is folded once in some 4,000 entries,
// so -benchtime 100000x is 25 times around.
func BenchmarkWear(b *testing.B) {
	s := loadedStore(b)
	r := rand.New(rand.NewPCG(8, 8))
	before := writtenToDisk(b)
	size := [10]int64{}
	for i := range b.N {
		apply(b, s, entryOf(r, uint64(i+2)))
		if tenth := i * 10 / b.N; i%100 == 0 {
			size[tenth] = max(size[tenth], diskSize(b, s.home.path))
		}
	}
	b.ReportMetric(float64(writtenToDisk(b)-before)/float64(b.N)/entrySize, "B-written/change")
	for _, tenth := range []int{0, 4, 9} {
		b.ReportMetric(float64(size[tenth])/1e6, fmt.Sprintf("MB-in-tenth-%d", tenth+1))
	}
}

// writtenToDisk returns how many bytes this process has caused to be written.
func writtenToDisk(tb testing.TB) int64 {
	tb.Helper()
	return ofProcess(tb, "/proc/self/io", "write_bytes:")
}

// ofProcess returns the number after name in one of the kernel's files about this process.
func ofProcess(tb testing.TB, path, name string) (n int64) {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "\n"+name)
	if _, err := fmt.Sscan(after, &n); !found || err != nil {
		tb.Fatalf("no %s in %s: %v", name, path, err)
	}
	return n
}

// diskSize returns what the files of a directory take on the disk: Badger's logs are
// longer than what is in them.
func diskSize(tb testing.TB, dir string) (n int64) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // a compaction has removed it
		}
		if err != nil || d.IsDir() {
			return err
		}
		n += blocks(path)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func blocks(path string) int64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0 // removed meanwhile
	}
	return st.Blocks * 512
}
