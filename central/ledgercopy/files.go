package ledgercopy

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"golang.org/x/sys/unix"

	"gateline/internal/badgerdir"
)

const (
	memTableSize = 8 << 20
	// valueThreshold keeps every message in the tree: the largest has some 520 kB.
	valueThreshold = 1 << 20
	// valueLogSize is as small as a value log that holds nothing may be.
	valueLogSize = 1 << 20
	// blockSize lets a few hundred events be compressed together.
	blockSize = 64 << 10
	// blockCache is what Badger unpacks blocks into; they are read in order.
	blockCache = 4 << 20
	// minFree is more than the memtables and compactions under way need: Badger
	// writes through memory maps, and on a full disk such a write ends the process.
	minFree = 64 << 20
)

func badgerOptions(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(badgerdir.Logger(log)).
		WithBypassLockGuard(true). // lockDir holds the lock
		WithMemTableSize(memTableSize).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(valueLogSize).
		WithBlockSize(blockSize).
		WithCompression(options.ZSTD).
		WithZSTDCompressionLevel(1).
		WithBlockCacheSize(blockCache).
		WithIndexCacheSize(0).
		WithMetricsEnabled(false).
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithSyncWrites(true)
}

// lockDir holds dir for this process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the directory of the ledger's copy: %w; check its owner", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("copy of the ledger in %s: %w; stop that one first", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock the directory of the ledger's copy %s: %w; use a local file system", dir, err)
	}
	return f, nil
}

// Aside moves a copy that nobody has open to a folder beside it, DIR.damaged,
// in the place of one that may be there already.
func Aside(dir string) error {
	aside := dir + ".damaged"
	err := os.RemoveAll(aside)
	if err == nil {
		err = os.Rename(dir, aside)
	}
	if err != nil {
		return fmt.Errorf("move the ledger's copy %s aside: %w; check the owner of the centre's directory", dir, err)
	}
	return nil
}

// writable reports what in dir, itself included, cannot be read and written. Badger
// would report it as damage, or end the process.
func writable(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the directory of the ledger's copy: %w; give it to the centre's user", err)
	}
	paths := []string{dir}
	for _, e := range entries {
		if e.Type().IsRegular() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	for _, path := range paths {
		if err := unix.Access(path, unix.R_OK|unix.W_OK); err != nil {
			return fmt.Errorf("copy of the ledger: %s cannot be read and written: %w; give it to the centre's user on a file system mounted read-write", path, err)
		}
	}
	return nil
}

// refused reports whether the system would not let Badger work, which says nothing of
// what is stored.
func refused(err error) bool {
	for _, cause := range []error{unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOSPC, unix.EDQUOT, unix.ENOMEM, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

func checkSpace(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("ask for free space at %s: %w; see to the disk", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < minFree {
		return fmt.Errorf("copy of the ledger in %s: %w: %d MiB free, %d MiB needed; free some", dir, ErrDiskFull, free>>20, minFree>>20)
	}
	return nil
}
