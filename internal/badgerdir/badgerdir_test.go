package badgerdir

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

func testOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).WithLogger(nil).WithMemTableSize(1 << 20).WithValueThreshold(1 << 10).WithValueLogFileSize(1 << 20)
}

// filled makes a store with tables in dir, and returns their paths.
func filled(t *testing.T, dir string) []string {
	t.Helper()
	db, err := badger.Open(testOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(txn *badger.Txn) error {
		for i := range 1000 {
			if err := txn.Set(fmt.Appendf(nil, "key %d", i), []byte("value")); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	return tables
}

// never fails the test where Badger is reached.
func never(t *testing.T) func(badger.Options) (*badger.DB, error) {
	return func(badger.Options) (*badger.DB, error) {
		t.Error("Badger was reached")
		return nil, errors.New("not to be reached")
	}
}

// Logs of no length go; all else stays.
func TestOpenSweeps(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir)
	for _, name := range []string{"00777.mem", "000777.vlog", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db, err := Open(testOptions(dir), badger.Open)
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(txn *badger.Txn) error { _, err := txn.Get([]byte("key 999")); return err })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); err != nil {
		t.Errorf("a file that is no log: %v", err)
	}
}

// Damage is told before Badger is reached, by the file's name, and what is there
// stays.
func TestOpenFindsDamage(t *testing.T) {
	for name, damage := range map[string]func(tables []string, manifest string) error{
		"manifest": func(_ []string, manifest string) error { return os.Remove(manifest) },
		"a table":  func(tables []string, _ string) error { return os.Remove(tables[0]) },
		"half of a table": func(tables []string, _ string) error {
			return os.Truncate(tables[0], 100)
		},
		"a bit": func(tables []string, _ string) error {
			b, err := os.ReadFile(tables[0])
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(tables[0], b, 0o600)
		},
		"all of a table": func(tables []string, _ string) error {
			return os.WriteFile(tables[0], bytes.Repeat([]byte{0xff}, 4096), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tables := filled(t, dir)
			if err := damage(tables, filepath.Join(dir, badger.ManifestFilename)); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(testOptions(dir), never(t))
			if err == nil || !strings.Contains(err.Error(), badger.ManifestFilename) && !strings.Contains(err.Error(), filepath.Base(tables[0])) {
				t.Errorf("it says %v", err)
			}
			if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
				t.Errorf("%d files are left of %d, %v", len(after), len(before), err)
			}
		})
	}
}

// A panic is an error; what Badger says in one is not passed on.
func TestOpenRecovers(t *testing.T) {
	dir := t.TempDir()
	for p, want := range map[any]string{
		"secret": "it cannot be parsed",
		nil:      "it cannot be parsed: ", // the runtime's
	} {
		_, err := Open(testOptions(dir), func(badger.Options) (*badger.DB, error) { panic(p) })
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("panic %v: %v", p, err)
		}
	}
}

func TestLoggerHidesKeys(t *testing.T) {
	var b bytes.Buffer
	l := Logger(slog.New(slog.NewTextHandler(&b, nil)))
	token := []byte("jABCDEFGH")
	type compaction struct{ left []byte }
	l.Errorf("compaction %d of %s failed: %v: %+v", 3, "x", errors.New("no room"), compaction{token})
	l.Warningf("key %q %x %v\n", token, token, token)
	l.Infof("key %q", token)
	l.Debugf("key %q", token)
	if got := b.String(); strings.Contains(got, "ABCDEFGH") || strings.Contains(got, "65 66 67") || strings.Contains(got, "4142") ||
		!strings.Contains(got, "compaction 3 of x failed: no room: hidden") || strings.Count(got, "\n") != 2 {
		t.Errorf("log:\n%s", got)
	}
}
