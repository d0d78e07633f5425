package ledgercopy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"golang.org/x/sys/unix"
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
		WithLogger(badgerLog{log}).
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

// openBadger opens the store after looking at what Badger would meet with a panic on
// a goroutine of its own, or not at all; package cache's DESIGN.md says more.
func openBadger(dir string, log *slog.Logger) (db *badger.DB, err error) {
	opt := badgerOptions(dir, log)
	if err := sweep(dir); err != nil {
		return nil, err
	}
	if err := verifyTables(dir, opt); err != nil {
		return nil, err
	}
	defer recovered(&err)
	return badger.Open(opt)
}

// sweep removes logs of no length, which a kill at the wrong instant leaves and Badger
// refuses to open beside.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// verifyTables checks every checksum of every table that the manifest names. Others
// are leftovers of a crash, which Badger removes; without a manifest it would take
// all of them for that.
func verifyTables(dir string, opt badger.Options) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if err != nil || len(names) == 0 {
			return err
		}
		return fmt.Errorf("%d tables and no %s", len(names), badger.ManifestFilename)
	}
	if err != nil {
		return err
	}
	manifest, _, err := badger.ReplayManifestFile(f, opt.ExternalMagicVersion, opt)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", badger.ManifestFilename, err)
	}
	v := verifier{options: table.Options{BlockSize: opt.BlockSize, Compression: opt.Compression, ZSTDCompressionLevel: opt.ZSTDCompressionLevel}}
	for id := range manifest.Tables {
		name := table.IDToFilename(id)
		if err := v.verify(filepath.Join(dir, name), id); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	return nil
}

// verifier reads one table after another into the same memory: a sector that cannot
// be read is then an error and not a fault.
type verifier struct {
	options table.Options
	buffer  []byte
}

func (v *verifier) verify(path string, id uint64) (err error) {
	defer recovered(&err)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := int(info.Size())
	v.buffer = slices.Grow(v.buffer[:0], size)[:size]
	if _, err := io.ReadFull(f, v.buffer); err != nil {
		return err
	}
	t, err := table.OpenInMemoryTable(v.buffer, id, &v.options)
	if err != nil {
		return err
	}
	t.Fd = f // its messages ask for the name
	return t.VerifyChecksum()
}

// recovered turns a panic into an error. Badger's own panics quote what is stored, so
// only the runtime's are passed on.
func recovered(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("it cannot be parsed: %w", p)
	default:
		*err = errors.New("it cannot be parsed")
	}
}

// badgerLog passes Badger's warnings and errors on, without arguments that could show
// what is stored.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(format string, args ...any) {
	l.log.Error("badger: " + message(format, args))
}

func (l badgerLog) Warningf(format string, args ...any) {
	l.log.Warn("badger: " + message(format, args))
}

func (badgerLog) Infof(string, ...any)  {}
func (badgerLog) Debugf(string, ...any) {}

// hidden stands for an argument that is not shown, whatever the verb.
type hidden struct{}

func (hidden) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("hidden")) }

func message(format string, args []any) string {
	shown := make([]any, len(args))
	for i, a := range args {
		switch a.(type) {
		case error, string, int, int64, uint32, uint64, time.Duration:
			shown[i] = a
		default:
			shown[i] = hidden{}
		}
	}
	return strings.TrimSpace(fmt.Sprintf(format, shown...))
}
