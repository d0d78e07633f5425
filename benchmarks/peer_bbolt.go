package main

import (
	"errors"
	"path/filepath"

	"go.etcd.io/bbolt"
)

func bboltPeer() peer {
	return peer{
		name:  "bbolt",
		about: "one bucket, a reading transaction a lookup, free list a map, synced; loaded in order, pages full",
		load:  loadBbolt,
		open:  openBbolt,
	}
}

func openBboltDB(dir string, load bool) (*bbolt.DB, error) {
	o := *bbolt.DefaultOptions
	o.FreelistType = bbolt.FreelistMapType
	o.NoSync, o.NoGrowSync = load, load
	return bbolt.Open(filepath.Join(dir, "db"), 0o600, &o)
}

// bucketName is the bucket's.
func bucketName() []byte { return []byte("r") }

// bboltLoad is how many records a transaction of the load has; a larger one only
// takes more memory.
const bboltLoad = 100_000

func loadBbolt(dir string, _ int, s *source) (err error) {
	db, err := openBboltDB(dir, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for more := true; more; {
		err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucketName())
			if err != nil {
				return err
			}
			b.FillPercent = 1 // records come in order, so no page is split later
			for range bboltLoad {
				var it item
				if it, more = s.next(); !more {
					break
				}
				key, value := keyOf(it.token), bytesOf(it.value)
				if err := b.Put(key[:], value[:]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return db.Sync()
}

type bboltStore struct {
	db   *bbolt.DB
	name []byte
	key  [keySize]byte // of the reader, so that it is not allocated each time
}

func openBbolt(dir string, _ int) (store, error) {
	db, err := openBboltDB(dir, false)
	if err != nil {
		return nil, err
	}
	return &bboltStore{db: db, name: bucketName()}, nil
}

func (s *bboltStore) lookup(token uint64) (value uint64, found bool, err error) {
	tx, err := s.db.Begin(false)
	if err != nil {
		return 0, false, err
	}
	s.key = keyOf(token)
	if b := tx.Bucket(s.name).Get(s.key[:]); b != nil {
		value, err = valueFrom(b)
		found = err == nil
	}
	return value, found, errors.Join(err, tx.Rollback())
}

func (s *bboltStore) update(items []item) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(s.name)
		for _, it := range items {
			key, value := keyOf(it.token), bytesOf(it.value)
			if err := b.Put(key[:], value[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *bboltStore) close() error { return s.db.Close() }
