package ledgercopy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/dgraph-io/badger/v4"

	"gateline/internal/badgerdir"
)

var (
	// ErrInUse: another process has the copy open.
	ErrInUse = errors.New("in use by another process")
	// ErrDamaged: what is stored cannot be read, or is not what was stored.
	ErrDamaged = errors.New("damaged copy of the ledger")
	// ErrFormat: the copy has a format that this program does not know.
	ErrFormat = errors.New("unknown format of the copy")
	// ErrForeignKey: the copy belongs to a ledger under another token key.
	ErrForeignKey = errors.New("the copy is of a ledger under another token key")
	// ErrDiskFull: too little free space, and nothing was written.
	ErrDiskFull = errors.New("too little free disk space")
)

const (
	format = 2
	// chainEvery is how many messages lie between two stored hashes of the chain.
	chainEvery = 100
	// mostBytes bounds the messages of one transaction: below Badger's limit of
	// 15 % of a memtable, with room for what else is in it.
	mostBytes = 1 << 20
	// mostMessages stays below Badger's limit of writes in one transaction.
	mostMessages = 4096
)

// KeyCheck tells ledgers under different token keys apart; its owner computes it.
type KeyCheck [8]byte

// Copy is an open copy. One goroutine at a time uses it.
type Copy struct {
	dir   string
	check KeyCheck
	log   *slog.Logger
	lock  *os.File
	db    *badger.DB // nil once it is closed
	end   head
	// failed is why nothing is written any more: after a failed commit only the disk
	// knows what is stored.
	failed error
}

// head is where the copy begins and ends.
type head struct {
	first uint64 // number of the first message, there or to come
	last  uint64
	chain [sha256.Size]byte
}

// Open opens the copy in dir, which it makes where there is none, and reads every
// checksum of what is stored. check is that of the ledger's key; log gets Badger's
// warnings, nil = nobody. The error wraps ErrInUse, ErrDamaged, ErrFormat or
// ErrForeignKey where that is the cause; none of them changes anything.
func Open(dir string, check KeyCheck, log *slog.Logger) (*Copy, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Copy{dir: dir, check: check, log: log}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Copy) open() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the ledger's copy: %w; check its owner and the disk", err)
	}
	var err error
	if c.lock, err = lockDir(c.dir); err != nil {
		return err
	}
	if err := errors.Join(writable(c.dir), checkSpace(c.dir)); err != nil {
		return err
	}
	if c.db, err = badgerdir.Open(badgerOptions(c.dir, c.log), badger.Open); err != nil {
		if refused(err) {
			return fmt.Errorf("open the copy of the ledger in %s: %w; give the centre what it lacks, then start it again", c.dir, err)
		}
		return damaged(c.dir, err)
	}
	return c.readHead()
}

func (c *Copy) readHead() error {
	value, err := c.get([]byte{keyHead})
	if errors.Is(err, badger.ErrKeyNotFound) {
		c.end = head{first: 1}
		return c.checkEmpty()
	}
	if err != nil {
		return damaged(c.dir, err)
	}
	if len(value) == 0 || value[0] != format {
		return fmt.Errorf("copy of the ledger in %s: %w; start the program that wrote it, or move the folder away: it is then made anew from the ledger", c.dir, ErrFormat)
	}
	if len(value) != headSize {
		return damaged(c.dir, errors.New("its head has a wrong length"))
	}
	if KeyCheck(value[1:9]) != c.check {
		return fmt.Errorf("copy of the ledger in %s: %w; start the centre with the key it had before; if the folder is another centre's, move it away", c.dir, ErrForeignKey)
	}
	c.end.first, c.end.last = binary.BigEndian.Uint64(value[9:]), binary.BigEndian.Uint64(value[17:])
	copy(c.end.chain[:], value[25:])
	if c.end.first == 0 || c.end.last < c.end.first {
		return damaged(c.dir, errors.New("its head ends before it begins"))
	}
	return nil
}

// checkEmpty refuses a copy that has messages and no head.
func (c *Copy) checkEmpty() error {
	return c.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		if it.Rewind(); it.Valid() {
			return damaged(c.dir, errors.New("its head is missing"))
		}
		return nil
	})
}

// First returns the number of the first message: 1, unless the copy was begun with
// another.
func (c *Copy) First() uint64 { return c.end.first }

// Last returns the number of the last message, First less one where there is none.
func (c *Copy) Last() uint64 { return c.end.last }

// Begin gives the first message of an empty copy its number, above 0. It is kept from
// the first message on.
func (c *Copy) Begin(first uint64) error {
	if c.end.last >= c.end.first || first == 0 {
		return fmt.Errorf("begin the copy of the ledger in %s at message %d: it has messages %d to %d; report this", c.dir, first, c.end.first, c.end.last)
	}
	c.end.first, c.end.last = first, first-1
	return nil
}

// Chain returns the hash of the chain over all messages.
func (c *Copy) Chain() [sha256.Size]byte { return c.end.chain }

// Dir returns the directory of the copy.
func (c *Copy) Dir() string { return c.dir }

// Append stores messages as those after Last and returns once they are safe: in one
// transaction unless they are more than 4096 or have more than 1 MiB. After an error Last says how
// far they are stored. The error wraps ErrDiskFull where nothing was written for want
// of space, and a later call may do better; after any other nothing is written any more
// until the copy is opened again.
func (c *Copy) Append(messages [][]byte) error {
	if c.failed != nil {
		return c.failed
	}
	for len(messages) > 0 {
		if err := checkSpace(c.dir); err != nil {
			return err
		}
		n, size := 0, 0
		for n < min(len(messages), mostMessages) && (n == 0 || size+len(messages[n]) <= mostBytes) {
			size += len(messages[n])
			n++
		}
		if err := c.commit(messages[:n]); err != nil {
			c.failed = fmt.Errorf("append to the copy of the ledger in %s after message %d: %w; see to the disk, then start the centre again", c.dir, c.end.last, err)
			return c.failed
		}
		messages = messages[n:]
	}
	return nil
}

func (c *Copy) commit(messages [][]byte) error {
	txn := c.db.NewTransaction(true)
	defer txn.Discard()
	end := c.end
	for _, m := range messages {
		end = end.next(m)
		if err := txn.Set(key(keyMessage, end.last), m); err != nil {
			return err
		}
		if end.last%chainEvery != 0 {
			continue
		}
		chain := end.chain
		if err := txn.Set(key(keyChain, end.last), chain[:]); err != nil {
			return err
		}
	}
	value := append(make([]byte, 0, headSize), format)
	value = append(value, c.check[:]...)
	value = binary.BigEndian.AppendUint64(value, end.first)
	value = binary.BigEndian.AppendUint64(value, end.last)
	if err := txn.Set([]byte{keyHead}, append(value, end.chain[:]...)); err != nil {
		return err
	}
	if err := txn.Commit(); err != nil {
		return err
	}
	c.end = end
	return nil
}

// next is the end after one more message.
func (h head) next(message []byte) head {
	hash := sha256.New()
	hash.Write(h.chain[:])
	hash.Write(message)
	n := head{first: h.first, last: h.last + 1}
	hash.Sum(n.chain[:0])
	return n
}

// Message returns message n. Of its content only Badger's checksum has been tested;
// Each goes by the chain.
func (c *Copy) Message(n uint64) ([]byte, error) {
	data, err := c.get(key(keyMessage, n))
	if err != nil {
		return nil, damaged(c.dir, fmt.Errorf("message %d: %w", n, err))
	}
	return data, nil
}

// Each hands every message after number after to fn, in order, and stops at its first
// error, which it returns, or where ctx ends. fn gets no message before the chain has
// proven it; it may not keep data. The error wraps ErrDamaged where one is missing or
// not what was stored.
func (c *Copy) Each(ctx context.Context, after uint64, fn func(number uint64, data []byte) error) error {
	after = max(after, c.end.first-1)
	at := head{first: c.end.first, last: max(after-after%chainEvery, c.end.first-1)}
	if at.last >= c.end.first {
		chain, err := c.get(key(keyChain, at.last))
		if err != nil || copy(at.chain[:], chain) != len(at.chain) {
			return damaged(c.dir, fmt.Errorf("the chain at message %d cannot be read", at.last))
		}
	}
	txn := c.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{keyMessage}})
	defer it.Close()
	it.Seek(key(keyMessage, at.last+1))
	var s stretch
	for at.last < c.end.last {
		if err := ctx.Err(); err != nil {
			return err
		}
		first := at.last + 1
		var err error
		// As far as the next stored hash, or the end.
		if at, err = s.read(it, at, min(at.last-at.last%chainEvery+chainEvery, c.end.last)); err != nil {
			return damaged(c.dir, err)
		}
		if err := c.prove(txn, at); err != nil {
			return damaged(c.dir, fmt.Errorf("messages %d to %d: %w", first, at.last, err))
		}
		for i := range s.ends {
			if n := first + uint64(i); n > after {
				if err := fn(n, s.message(i)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// prove compares the chain with what is stored of it.
func (c *Copy) prove(txn *badger.Txn, at head) error {
	want := c.end.chain[:]
	if at.last < c.end.last {
		item, err := txn.Get(key(keyChain, at.last))
		if err != nil {
			return fmt.Errorf("their chain: %w", err)
		}
		if want, err = item.ValueCopy(nil); err != nil {
			return fmt.Errorf("their chain: %w", err)
		}
	}
	if string(want) != string(at.chain[:]) {
		return errors.New("they are not those of the chain")
	}
	return nil
}

// stretch is what lies between two stored hashes of the chain.
type stretch struct {
	data []byte
	ends []int
}

func (s *stretch) message(i int) []byte {
	from := 0
	if i > 0 {
		from = s.ends[i-1]
	}
	return s.data[from:s.ends[i]]
}

// read takes the messages after at up to the one with number to, and returns the chain
// over them.
func (s *stretch) read(it *badger.Iterator, at head, to uint64) (head, error) {
	s.data, s.ends = s.data[:0], s.ends[:0]
	for at.last < to {
		if !it.Valid() || string(it.Item().Key()) != string(key(keyMessage, at.last+1)) {
			return at, fmt.Errorf("message %d is missing", at.last+1)
		}
		err := it.Item().Value(func(value []byte) error {
			s.data = append(s.data, value...)
			s.ends = append(s.ends, len(s.data))
			return nil
		})
		if err != nil {
			return at, fmt.Errorf("message %d: %w", at.last+1, err)
		}
		at = at.next(s.message(len(s.ends) - 1))
		it.Next()
	}
	return at, nil
}

// Renew begins the copy anew, empty; what was stored is moved aside (Aside).
func (c *Copy) Renew() error {
	if err := c.Close(); err != nil {
		return err
	}
	if err := Aside(c.dir); err != nil {
		return err
	}
	c.failed = nil
	return c.open()
}

// Close releases the directory. It may be called again.
func (c *Copy) Close() error {
	var faults []error
	if c.db != nil {
		faults = append(faults, c.db.Close())
		c.db = nil
	}
	if c.lock != nil {
		faults = append(faults, c.lock.Close())
		c.lock = nil
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("close the copy of the ledger in %s: %w", c.dir, err)
	}
	return nil
}

func (c *Copy) get(key []byte) (value []byte, err error) {
	err = c.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		value, err = item.ValueCopy(nil)
		return err
	})
	return value, err
}

// The first byte of a key.
const (
	keyHead    = 'h'
	keyMessage = 'm'
	keyChain   = 'c'
)

const headSize = 1 + len(KeyCheck{}) + 2*8 + sha256.Size

func key(space byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 9), space), n)
}

func damaged(dir string, cause error) error {
	return fmt.Errorf("copy of the ledger in %s: %w: %w; move the folder away: it is then made anew from the ledger", dir, ErrDamaged, cause)
}
