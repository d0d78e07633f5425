package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// peer is a store under comparison.
type peer struct {
	name string
	// about is its settings in a few words; README.md has the reasons.
	about string
	// missing says in words why it cannot run here; nil or "" = it can.
	missing func() string
	// collect is GOGC of its processes in percent, 0 = collectPercent.
	collect int
	// load brings all records of s, which come in the order of their tokens, into an
	// empty folder. They are on the disk when it returns.
	load func(dir string, records int, s *source) error
	// open opens what load left.
	open func(dir string, records int) (store, error)
}

// store is an open peer. One goroutine looks up while another updates.
type store interface {
	// lookup returns the value of a token and whether there is one.
	lookup(token uint64) (value uint64, found bool, err error)
	// update changes the values of a batch, in the order of their tokens. They are
	// on the disk when it returns, where the peer has one. It does not keep items.
	update(items []item) error
	close() error
}

// settler is a store that goes on with its opening after it has begun to answer.
type settler interface{ settled() bool }

// served is a store that lives in another process.
type served interface{ pid() int }

// peers returns all of them, in the order of the table.
func peers() []peer {
	return []peer{
		cachePeer(), badgerPeer(), pebblePeer(), bboltPeer(), lmdbPeer(),
		sqlitePeer(), redisPeer(), mapPeer(), flatPeer(),
	}
}

func peerNamed(name string) (peer, error) {
	for _, p := range peers() {
		if strings.EqualFold(p.name, name) {
			return p, nil
		}
	}
	return peer{}, fmt.Errorf("there is no store %q; --help names them", name)
}

// keySize and valueSize are what stores of bytes hold for a record.
const keySize, valueSize = 8, 8

// keyOf is a token as stores of bytes have it: its order is the token's.
func keyOf(token uint64) (b [keySize]byte) {
	binary.BigEndian.PutUint64(b[:], token)
	return b
}

func bytesOf(value uint64) (b [valueSize]byte) {
	binary.LittleEndian.PutUint64(b[:], value)
	return b
}

// valueFrom is the inverse of bytesOf.
func valueFrom(b []byte) (uint64, error) {
	if len(b) != valueSize {
		return 0, fmt.Errorf("a value of %d bytes, not %d; look into the store's adapter", len(b), valueSize)
	}
	return binary.LittleEndian.Uint64(b), nil
}

// flatFile is where stores that live in memory alone keep the records between
// load and open: tokens and values, one after the other.
const flatFile = "records"

// saveFlat writes all records of s to the file and the disk.
func saveFlat(dir string, s *source) error {
	w, err := createPairs(filepath.Join(dir, flatFile))
	if err != nil {
		return err
	}
	for it, ok := s.next(); ok; it, ok = s.next() {
		if err := w.add(it); err != nil {
			return err
		}
	}
	return w.close()
}

// readFlat calls fn for each record of the file.
func readFlat(dir string, fn func(item)) error {
	f, err := os.Open(filepath.Join(dir, flatFile))
	if err != nil {
		return fmt.Errorf("read the records: %w; start the run again", err)
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(f, b)
		for i := 0; i+pairSize <= n; i += pairSize {
			fn(item{token: binary.LittleEndian.Uint64(b[i:]), value: binary.LittleEndian.Uint64(b[i+8:])})
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return fmt.Errorf("read the records: %w; start the run again", err)
		}
	}
}
