package cache

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
)

const (
	// valueThreshold keeps every value in the tree: the largest is a shard of
	// gateway.MaxShardRecords, some 920 kB. It is the most that Badger takes and
	// must stay below 15 % of a memtable.
	valueThreshold = 1 << 20
	// valueLogSize is as small as a value log that holds nothing may be.
	valueLogSize = 1 << 20
)

// badgerOptions are the measured settings; DESIGN.md says what each bought.
func badgerOptions(dir string, o *Options) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(badgerLog{o.Log}).
		WithBypassLockGuard(true). // home holds the lock
		WithMemTableSize(o.MemTableSize).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(valueLogSize).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithMetricsEnabled(false).
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithSyncWrites(true)
}

// openBadger opens the database in dir after checking every file whose damage
// Badger would meet with a panic on a goroutine of its own, or not at all.
func openBadger(dir string, o *Options) (db *badger.DB, err error) {
	opt := badgerOptions(dir, o)
	if err := sweep(dir); err != nil {
		return nil, err
	}
	if err := verifyTables(dir, opt); err != nil {
		return nil, err
	}
	defer recovered(&err)
	return badger.OpenManaged(opt)
}

// sweep removes write-ahead and value logs of no length. A kill between
// creating a log and sizing it, or between emptying and removing it, leaves
// one; it holds nothing, and Badger 4.9.6 refuses to open beside it.
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
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() && info.Size() == 0 {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// verifyTables checks every checksum of every table that the manifest names.
// It reads the whole store once; a damaged block is found here and not by a
// gate's lookup. Tables the manifest does not name are leftovers of a crash,
// which Badger removes.
func verifyTables(dir string, opt badger.Options) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return noTables(dir)
	}
	if err != nil {
		return err
	}
	manifest, _, err := badger.ReplayManifestFile(f, opt.ExternalMagicVersion, opt)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", badger.ManifestFilename, err)
	}
	v := verifier{options: table.Options{BlockSize: opt.BlockSize, Compression: opt.Compression}}
	for id := range manifest.Tables {
		name := table.IDToFilename(id)
		if err := v.verify(filepath.Join(dir, name), id); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	return nil
}

// noTables guards against a manifest that was lost: without one, Badger takes
// every table for a leftover and deletes it.
func noTables(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(names) == 0 {
		return err
	}
	return fmt.Errorf("%d tables and no %s", len(names), badger.ManifestFilename)
}

// verifier reads one table after another into the same memory. It reads rather
// than maps, so that a sector that cannot be read is an error and not a fault.
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

// recovered turns a panic into an error. Badger's own panics quote the table's
// index, which is made of tokens, so only the runtime's are passed on.
func recovered(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("it cannot be parsed: %w", p)
	default:
		*err = errors.New("it cannot be parsed")
	}
}

// badgerLog passes Badger's warnings and errors on. Some of them show keys,
// which are tokens, so an argument that is not known to be harmless is hidden.
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
