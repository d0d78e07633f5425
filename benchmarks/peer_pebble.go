package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func pebblePeer() peer {
	return peer{
		name:  "Pebble",
		about: "block cache for all blocks, no compression, Bloom filters, memtable 16 MB, Sync; loaded as one ingested table",
		load:  loadPebble,
		open:  openPebble,
	}
}

// pebbleLog passes on nothing but what ends the process.
type pebbleLog struct{}

func (pebbleLog) Infof(string, ...any)              {}
func (pebbleLog) Errorf(string, ...any)             {}
func (pebbleLog) Fatalf(format string, args ...any) { pebble.DefaultLogger.Fatalf(format, args...) }

// pebbleOptions are the best settings found. The cache has room for every block:
// 16 bytes of key and value, about as much around them, and the memtables.
func pebbleOptions(cache *pebble.Cache) *pebble.Options {
	o := &pebble.Options{
		Cache:              cache,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       16 << 20,
		Logger:             pebbleLog{},
	}
	for i := range o.Levels {
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

func pebbleCacheSize(records int) int64 { return int64(records)*48 + 128<<20 }

func openPebbleDB(dir string, records int) (*pebble.DB, error) {
	cache := pebble.NewCache(pebbleCacheSize(records))
	defer cache.Unref() // the database holds it from now on
	return pebble.Open(filepath.Join(dir, "db"), pebbleOptions(cache))
}

func loadPebble(dir string, records int, s *source) (err error) {
	db, err := openPebbleDB(dir, records)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	path := filepath.Join(dir, "table")
	if err := writeTable(path, db.TableFormat(), s); err != nil {
		return err
	}
	return db.Ingest(context.Background(), []string{path})
}

// writeTable writes all records as a table for the lowest level.
func writeTable(path string, format sstable.TableFormat, s *source) (err error) {
	f, err := vfs.Default.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	o := pebbleOptions(nil)
	o.EnsureDefaults()
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), o.MakeWriterOptions(len(o.Levels)-1, format))
	defer func() { err = errors.Join(err, w.Close()) }()
	for it, ok := s.next(); ok; it, ok = s.next() {
		key, value := keyOf(it.token), bytesOf(it.value)
		if err := w.Set(key[:], value[:]); err != nil {
			return err
		}
	}
	return nil
}

type pebbleStore struct {
	db  *pebble.DB
	key [keySize]byte // of the reader, so that it is not allocated each time
}

func openPebble(dir string, records int) (store, error) {
	db, err := openPebbleDB(dir, records)
	if err != nil {
		return nil, err
	}
	return &pebbleStore{db: db}, nil
}

func (s *pebbleStore) lookup(token uint64) (uint64, bool, error) {
	s.key = keyOf(token)
	b, closer, err := s.db.Get(s.key[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	value, err := valueFrom(b)
	return value, err == nil, errors.Join(err, closer.Close())
}

func (s *pebbleStore) update(items []item) error {
	b := s.db.NewBatch()
	defer b.Close()
	for _, it := range items {
		key, value := keyOf(it.token), bytesOf(it.value)
		if err := b.Set(key[:], value[:], nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

func (s *pebbleStore) close() error { return s.db.Close() }
