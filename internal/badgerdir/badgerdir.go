package badgerdir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// Open opens the store in opt.Dir, by open, which is badger.Open or
// badger.OpenManaged, after checking every file whose damage Badger would meet
// with a panic on a goroutine of its own, or not at all. It reads all tables
// once. After an error of open Badger may have left goroutines behind.
func Open(opt badger.Options, open func(badger.Options) (*badger.DB, error)) (db *badger.DB, err error) {
	if err := sweep(opt.Dir); err != nil {
		return nil, err
	}
	if err := verifyTables(opt); err != nil {
		return nil, err
	}
	defer recovered(&err)
	return open(opt)
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
// later reader. Tables the manifest does not name are leftovers of a crash,
// which Badger removes.
func verifyTables(opt badger.Options) error {
	f, err := os.Open(filepath.Join(opt.Dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return noTables(opt.Dir)
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
		if err := v.verify(filepath.Join(opt.Dir, name), id); err != nil {
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

// recovered turns a panic into an error. Badger's own panics quote what is
// stored, so only the runtime's are passed on.
func recovered(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("it cannot be parsed: %w", p)
	default:
		*err = errors.New("it cannot be parsed")
	}
}
