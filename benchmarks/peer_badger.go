package main

import (
	"errors"
	"math"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
)

func badgerPeer() peer {
	return peer{
		name:  "Badger",
		about: "a key a record; managed mode, no compression, no block cache, memtable 16 MB, SyncWrites, one reading transaction; loaded by StreamWriter",
		load:  loadBadger,
		open:  openBadger,
	}
}

// openBadgerDB opens with the best settings found, of which README.md tells.
func openBadgerDB(dir string) (*badger.DB, error) {
	return badger.OpenManaged(badger.DefaultOptions(dir).
		WithLogger(nil).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithMetricsEnabled(false).
		WithDetectConflicts(false).
		WithMemTableSize(16 << 20).
		WithSyncWrites(true))
}

// streamChunk is how many bytes go to the StreamWriter at a time. It makes some
// ten times as much of them, and holds several.
const streamChunk = 1 << 20

func loadBadger(dir string, _ int, s *source) (err error) {
	db, err := openBadgerDB(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	w := db.NewStreamWriter()
	if err := w.Prepare(); err != nil {
		return err
	}
	buf := z.NewBuffer(streamChunk+1<<10, "load")
	defer func() { err = errors.Join(err, buf.Release()) }()
	var key [keySize]byte
	var value [valueSize]byte
	kv := &pb.KV{Key: key[:], Value: value[:], Version: 1, StreamId: 1}
	for it, ok := s.next(); ok; it, ok = s.next() {
		key, value = keyOf(it.token), bytesOf(it.value)
		badger.KVToBuffer(kv, buf)
		if buf.LenNoPadding() >= streamChunk {
			if err := w.Write(buf); err != nil {
				return err
			}
			buf.Reset()
		}
	}
	if err := w.Write(buf); err != nil {
		return err
	}
	return w.Flush()
}

// badgerStore looks up through one transaction that reads the newest version,
// because a new one for each lookup costs more than the lookup.
type badgerStore struct {
	db      *badger.DB
	txn     *badger.Txn
	version uint64
	key     [keySize]byte // of the reader, so that it is not allocated each time
	value   []byte        // the same
}

func openBadger(dir string, _ int) (store, error) {
	db, err := openBadgerDB(dir)
	if err != nil {
		return nil, err
	}
	return &badgerStore{db: db, txn: db.NewTransactionAt(math.MaxUint64, false), version: db.MaxVersion(), value: make([]byte, 0, valueSize)}, nil
}

func (s *badgerStore) lookup(token uint64) (uint64, bool, error) {
	s.key = keyOf(token)
	entry, err := s.txn.Get(s.key[:])
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if s.value, err = entry.ValueCopy(s.value); err != nil {
		return 0, false, err
	}
	value, err := valueFrom(s.value)
	return value, err == nil, err
}

func (s *badgerStore) update(items []item) error {
	s.version++
	b := s.db.NewWriteBatchAt(s.version)
	defer b.Cancel()
	for _, it := range items {
		key, value := keyOf(it.token), bytesOf(it.value)
		if err := b.Set(key[:], value[:]); err != nil {
			return err
		}
	}
	if err := b.Flush(); err != nil {
		return err
	}
	s.db.SetDiscardTs(s.version)
	return nil
}

func (s *badgerStore) close() error {
	s.txn.Discard()
	return s.db.Close()
}
