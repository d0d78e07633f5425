package ledgercopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testCheck = KeyCheck{1, 2, 3}

func open(t *testing.T, dir string) *Copy {
	t.Helper()
	c, err := Open(dir, testCheck, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// text is message n of the tests' ledger.
func text(n uint64) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "message %d\n", n), int(1+n%7))
}

func add(t *testing.T, c *Copy, to uint64) {
	t.Helper()
	var all [][]byte
	for n := c.Last() + 1; n <= to; n++ {
		all = append(all, text(n))
	}
	if err := c.Append(all); err != nil {
		t.Fatal(err)
	}
}

// check reads the copy from after on.
func check(t *testing.T, c *Copy, after, last uint64) {
	t.Helper()
	n := after
	err := c.Each(t.Context(), after, func(number uint64, data []byte) error {
		if n++; number != n || !bytes.Equal(data, text(n)) {
			return fmt.Errorf("message %d in the place of %d, or other data", number, n)
		}
		return nil
	})
	if err != nil || n != last || c.Last() != last {
		t.Fatalf("it ends at %d, says %d, not %d: %v", n, c.Last(), last, err)
	}
}

func TestAppendAndRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "copy")
	c := open(t, dir)
	check(t, c, 0, 0)
	for _, to := range []uint64{1, 2, 99, 100, 101, 350, 9000} {
		add(t, c, to)
		check(t, c, 0, to)
	}
	if err := c.Append([][]byte{bytes.Repeat([]byte{7}, mostBytes), make([]byte, mostBytes/2), make([]byte, mostBytes)}); err != nil || c.Last() != 9003 {
		t.Fatalf("big messages: %d, %v", c.Last(), err)
	}
	if data, err := c.Message(9002); err != nil || len(data) != mostBytes/2 {
		t.Errorf("message 9002 has %d bytes, %v", len(data), err)
	}
	if _, err := c.Message(9004); !errors.Is(err, ErrDamaged) {
		t.Errorf("a message that is not there: %v", err)
	}
	if _, err := Open(dir, testCheck, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, KeyCheck{9}, nil); !errors.Is(err, ErrForeignKey) {
		t.Errorf("another key: %v", err)
	}
	c = open(t, dir)
	seen := 0
	if err := c.Each(t.Context(), 8899, func(n uint64, _ []byte) error { seen++; return nil }); err != nil || seen != 9003-8899 {
		t.Errorf("read %d after a restart, %v", seen, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Each(ctx, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	if err := c.Renew(); err != nil || c.Last() != 0 {
		t.Fatalf("renewed: %d, %v", c.Last(), err)
	}
	add(t, c, 3)
	check(t, c, 1, 3)
	if old := open(t, dir+".damaged"); old.Last() != 9003 {
		t.Errorf("moved aside: %d", old.Last())
	}
}

// A copy may begin with any number. That is kept, every message can be read from any
// other on, and nothing is taken for a message that is not there.
func TestBegin(t *testing.T) {
	for _, first := range []uint64{1, 2, 100, 101, 199, 7450} {
		dir := t.TempDir()
		c := open(t, dir)
		if err := c.Begin(first); err != nil || c.First() != first || c.Last() != first-1 {
			t.Fatalf("%d: %d to %d, %v", first, c.First(), c.Last(), err)
		}
		check(t, c, first-1, first-1)
		for _, n := range []uint64{1, 2, 150, 99} {
			add(t, c, c.Last()+n)
		}
		last := first + 251
		if err := c.Begin(first); err == nil {
			t.Errorf("%d: begun with messages in it", first)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if c = open(t, dir); c.First() != first {
			t.Errorf("%d: it begins at %d", first, c.First())
		}
		for after := first - 1; after <= last; after++ {
			check(t, c, after, last)
		}
		n := first - 1
		if err := c.Each(t.Context(), 0, func(number uint64, _ []byte) error { n++; return nil }); err != nil || n != last {
			t.Errorf("%d: from 0 on up to %d, %v", first, n, err)
		}
		if err := c.Renew(); err != nil || c.First() != 1 || c.Last() != 0 {
			t.Errorf("%d: renewed %d to %d, %v", first, c.First(), c.Last(), err)
		}
	}
	c := open(t, t.TempDir())
	if err := c.Begin(0); err == nil {
		t.Error("begun with 0")
	}
}

// Whatever is changed behind the copy's back is noticed, and nothing of the hundred
// messages it is in is handed out.
func TestChainNotices(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*badger.Txn) error
		proven uint64
	}{
		"a message changed": {func(txn *badger.Txn) error { return txn.Set(key(keyMessage, 150), text(151)) }, 100},
		"a message gone":    {func(txn *badger.Txn) error { return txn.Delete(key(keyMessage, 150)) }, 100},
		"the last gone":     {func(txn *badger.Txn) error { return txn.Delete(key(keyMessage, 250)) }, 200},
		"the last changed":  {func(txn *badger.Txn) error { return txn.Set(key(keyMessage, 250), text(1)) }, 200},
		"two exchanged": {func(txn *badger.Txn) error {
			return errors.Join(txn.Set(key(keyMessage, 7), text(8)), txn.Set(key(keyMessage, 8), text(7)))
		}, 0},
		"the chain changed": {func(txn *badger.Txn) error { return txn.Set(key(keyChain, 200), make([]byte, 32)) }, 100},
		"the chain gone":    {func(txn *badger.Txn) error { return txn.Delete(key(keyChain, 100)) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			add(t, s, 250)
			if err := s.db.Update(c.change); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			last := uint64(0)
			err := s.Each(t.Context(), 0, func(n uint64, _ []byte) error { last = n; return nil })
			if !errors.Is(err, ErrDamaged) || last != c.proven {
				t.Errorf("handed out up to %d, then %v", last, err)
			}
		})
	}
}

func TestHead(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*badger.Txn) error
		want   error
	}{
		"gone":  {func(txn *badger.Txn) error { return txn.Delete([]byte{keyHead}) }, ErrDamaged},
		"short": {func(txn *badger.Txn) error { return txn.Set([]byte{keyHead}, []byte{format}) }, ErrDamaged},
		"empty": {func(txn *badger.Txn) error { return txn.Set([]byte{keyHead}, nil) }, ErrFormat},
		"backwards": {func(txn *badger.Txn) error {
			head := make([]byte, headSize)
			head[0], head[16], head[24] = format, 7, 5 // the last bytes of the two numbers
			copy(head[1:], testCheck[:])
			return txn.Set([]byte{keyHead}, head)
		}, ErrDamaged},
		"another format": {func(txn *badger.Txn) error { return txn.Set([]byte{keyHead}, make([]byte, headSize)) }, ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			add(t, s, 5)
			if err := errors.Join(s.db.Update(c.change), s.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, testCheck, nil); !errors.Is(err, c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A file that was damaged on the disk is noticed when the copy is opened, and the
// copy is not opened without its manifest, which would delete it.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	add(t, s, 40)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	whole, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(whole)
	broken[len(broken)/2] ^= 1
	for name, change := range map[string]func() error{
		"a bit":        func() error { return os.WriteFile(tables[0], broken, 0o600) },
		"cut off":      func() error { return os.WriteFile(tables[0], whole[:len(whole)/2], 0o600) },
		"a table gone": func() error { return os.Remove(tables[0]) },
		"no manifest": func() error {
			return errors.Join(os.WriteFile(tables[0], whole, 0o600), os.Remove(filepath.Join(dir, badger.ManifestFilename)))
		},
	} {
		manifest, err := os.ReadFile(filepath.Join(dir, badger.ManifestFilename))
		if err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, testCheck, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(os.WriteFile(tables[0], whole, 0o600), os.WriteFile(filepath.Join(dir, badger.ManifestFilename), manifest, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if s = open(t, dir); s.Last() != 40 {
		t.Errorf("mended, it ends at %d", s.Last())
	}
}
