package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// childDir names the environment variable with the directory a child opens.
const childDir = "GATELINE_CACHE_DIR"

// listing is every name below dir with its content.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		b.WriteString(path)
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.Write(text)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A directory that is not ours is refused, named, and left byte for byte.
func TestForeignDirectory(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  error
	}{
		{"somebody's files", map[string]string{"thesis.txt": "years of work"}, ErrForeign},
		{"somebody's folder", map[string]string{"photos/1.jpg": "x"}, ErrForeign},
		{"somebody's Badger", map[string]string{"MANIFEST": "Bdgr", "KEYREGISTRY": "x"}, ErrForeign},
		{"files beside a half-written marker", map[string]string{markerTemp: "gate", "a": "b"}, ErrForeign},
		{"a newer format", map[string]string{markerName: fmt.Sprintf("%s%d\n", markerPrefix, format+1), "badger/MANIFEST": "x"}, ErrFormat},
		{"an older format", map[string]string{markerName: fmt.Sprintf("%s%d\n", markerPrefix, format-1), "badger/MANIFEST": "x"}, ErrFormat},
		{"a marker of nonsense", map[string]string{markerName: "hello"}, ErrDamaged},
		{"an empty marker", map[string]string{markerName: ""}, ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				write(t, filepath.Join(dir, name), text)
			}
			before := listing(t, dir)
			_, err := Open(dir, testOptions())
			wantErr(t, err, tt.want)
			wantHelp(t, err, dir)
			if listing(t, dir) != before {
				t.Error("the directory was changed")
			}
		})
	}
}

// wantHelp checks that an error names the path and a next step.
func wantHelp(t *testing.T, err error, dir string) {
	t.Helper()
	if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "; ") {
		t.Errorf("no path or no next step in: %v", err)
	}
}

func TestNotADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cache")
	write(t, file, "x")
	for _, path := range []string{file, filepath.Join(file, "below")} {
		_, err := Open(path, testOptions())
		if err == nil {
			t.Fatal("a file was taken for a directory")
		}
		wantHelp(t, err, path)
	}
	if _, err := Open("", testOptions()); err == nil {
		t.Fatal("the empty path was taken")
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("permission bits do not bind root; run as another user to see this one")
	}
	shut := map[string]func(dir string) string{
		"parent":   func(dir string) string { return filepath.Dir(dir) },
		"itself":   func(dir string) string { return dir },
		"database": func(dir string) string { return filepath.Join(dir, badgerDir) },
		"manifest": func(dir string) string { return filepath.Join(dir, badgerDir, "MANIFEST") },
		"discard":  func(dir string) string { return filepath.Join(dir, badgerDir, "DISCARD") },
		"marker":   func(dir string) string { return filepath.Join(dir, markerName) },
	}
	for name, of := range shut {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if name != "parent" {
				closeStore(t, open(t, dir, testOptions()))
			}
			path := of(dir)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, info.Mode().Perm()&^0o266); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(path, info.Mode().Perm()) })
			_, err = Open(dir, testOptions())
			wantErr(t, err, fs.ErrPermission)
			wantHelp(t, err, dir)
			if errors.Is(err, ErrDamaged) {
				t.Errorf("called damaged: %v", err)
			}
		})
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	_, err := Open(dir, testOptions())
	wantErr(t, err, ErrInUse)
	wantHelp(t, err, dir)
	if out := openInChild(t, dir); !strings.Contains(out, ErrInUse.Error()) {
		t.Errorf("another process says: %s", out)
	}
	closeStore(t, s)
	if out := openInChild(t, dir); out != "opened\n" {
		t.Errorf("another process says: %s", out)
	}
}

// Every state that a kill may leave behind during the first start is taken.
func TestInterruptedInitialisation(t *testing.T) {
	ours := fmt.Sprintf("%s%d\n", markerPrefix, format)
	tests := map[string]map[string]string{
		"empty":                 {},
		"marker half written":   {markerTemp: "gateline ca"},
		"marker only":           {markerName: ours},
		"both markers":          {markerName: ours, markerTemp: ""},
		"a fresh file system":   {lostFound + "/x": ""},
		"manifest half written": {markerName: ours, badgerDir + "/MANIFEST-REWRITE": "Bd"},
		"logs not sized yet":    {markerName: ours, badgerDir + "/00001.mem": "", badgerDir + "/000001.vlog": "", badgerDir + "/DISCARD": ""},
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range files {
				write(t, filepath.Join(dir, name), text)
			}
			s := open(t, dir, testOptions())
			apply(t, s, updateOf(1))
			closeStore(t, s)
			s = open(t, dir, testOptions())
			if s.Position() != at(1) {
				t.Fatal("not kept")
			}
		})
	}
}

func TestOpenMakesDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	closeStore(t, open(t, dir, testOptions()))
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("mode %v, err %v; want 0700: records are health data", info.Mode(), err)
	}
}

// filled makes a store with several tables. If killed is set it is as a kill
// leaves it: the newest records are in a write-ahead log.
func filled(t *testing.T, killed bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir, testOptions())
	for n := uint64(1); n <= filledTo; n++ {
		apply(t, s, updateOf(n))
	}
	if !killed {
		closeStore(t, s)
		return dir
	}
	killedDir := copyOf(t, dir)
	closeStore(t, s)
	return killedDir
}

// filledTo is the number of the last update in a store that filled made.
const filledTo = 90

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// A damaged file is an error that names the directory, in a process that
// neither crashes nor wipes. Another process opens the store, because after
// some of these Badger leaves goroutines behind.
func TestDamagedFiles(t *testing.T) {
	truncate := func(b []byte) []byte { return b[:len(b)/2] }
	zeros := func(b []byte) []byte { clear(b[len(b)/3 : len(b)/2]); return b }
	oneBit := func(b []byte) []byte { b[len(b)/2] ^= 4; return b }
	tail := func(b []byte) []byte { copy(b[len(b)-8:], "\xff\xff\xff\x7f\xff\xff\xff\xff"); return b }
	nonsense := func(b []byte) []byte { return []byte(strings.Repeat("nonsense", 40)) }
	empty := func([]byte) []byte { return nil }
	tests := []struct {
		name   string
		killed bool
		files  string
		damage func([]byte) []byte // nil = remove the file
	}{
		{"table truncated", false, "*.sst", truncate},
		{"table with zeros", false, "*.sst", zeros},
		{"table with one bit turned", false, "*.sst", oneBit},
		{"table with its end overwritten", false, "*.sst", tail},
		{"table of nonsense", false, "*.sst", nonsense},
		{"table empty", false, "*.sst", empty},
		{"table gone", false, "*.sst", nil},
		{"manifest of nonsense", false, "MANIFEST", nonsense},
		{"manifest empty", false, "MANIFEST", empty},
		{"manifest with one bit turned", false, "MANIFEST", oneBit},
		{"manifest gone", false, "MANIFEST", nil},
		{"key registry of nonsense", false, "KEYREGISTRY", nonsense},
		{"write-ahead log of nonsense", true, "*.mem", nonsense},
	}
	stores := map[bool]string{false: filled(t, false), true: filled(t, true)}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyOf(t, stores[tt.killed])
			paths, err := filepath.Glob(filepath.Join(dir, badgerDir, tt.files))
			if err != nil || len(paths) == 0 {
				t.Fatalf("no %s, err %v", tt.files, err)
			}
			damageFile(t, paths[len(paths)/2], tt.damage)
			before := len(listing(t, dir))
			out := openInChild(t, dir)
			if !strings.Contains(out, dir) || !strings.Contains(out, ErrDamaged.Error()) || !strings.Contains(out, "move the directory away") || len(out) > 1000 {
				t.Errorf("the process says: %s", out)
			}
			if after := len(listing(t, dir)); after < before {
				t.Errorf("%d bytes are left of %d", after, before)
			}
		})
	}
}

func damageFile(t *testing.T, path string, damage func([]byte) []byte) {
	t.Helper()
	if damage == nil {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(damage(b)))
}

// A store whose state cannot be read is damaged too, and its directory free.
func TestDamagedState(t *testing.T) {
	for _, key := range []string{keyPosition, keySchedule} {
		dir := t.TempDir()
		s := open(t, dir, testOptions())
		txn := s.db.NewTransactionAt(1, true)
		if err := errors.Join(txn.Set([]byte(key), []byte("x")), txn.CommitAt(1, nil)); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		for range 2 {
			_, err := Open(dir, testOptions())
			wantErr(t, err, ErrDamaged)
		}
	}
}

// A write-ahead log cut short by a crash is not damage: what it holds up to
// there is taken, and the position fits it.
func TestTornLogResumes(t *testing.T) {
	dir := filled(t, true)
	logs, err := filepath.Glob(filepath.Join(dir, badgerDir, "*.mem"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs, err %v", err)
	}
	path := logs[len(logs)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(strings.TrimRight(string(b), "\x00"))
	if err := os.Truncate(path, int64(end-3)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, testOptions())
	n := s.Position().Number
	if n == 0 || n >= filledTo {
		t.Fatalf("at entry %d, want one before %d, whose end is gone", n, filledTo)
	}
	m := model{}
	for i := uint64(1); i <= n; i++ {
		m.apply(updateOf(i))
	}
	verify(t, s, m)
}

// openInChild opens dir in another process and returns what it prints.
func openInChild(t *testing.T, dir string) string {
	t.Helper()
	out, err := childCommand(t, "open", dir).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
		t.Fatalf("child: %v: %.2000s", err, out)
	}
	return string(out)
}

func childCommand(t *testing.T, mode, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), childMode+"="+mode, childDir+"="+dir)
	return c
}
