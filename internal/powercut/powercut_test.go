package powercut

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What was synced before the cut is there after it, what was only written is
// not, and between the two nothing is written at all.
func TestCut(t *testing.T) {
	if !Alone(t) {
		return
	}
	d := New(t)
	for _, name := range []string{"first", "second"} {
		kept, lost := filepath.Join(d.Dir(), name+" kept"), filepath.Join(d.Dir(), name+" lost")
		f, err := os.Create(kept)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString("kept")
		if err = errors.Join(err, f.Sync(), os.WriteFile(lost, []byte("lost"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if !d.attached() {
			t.Error("the loop device is not known by its image")
		}
		if err := d.Cut(); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err == nil {
			t.Error("a file is synced without power")
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		d.Restart()
		if b, err := os.ReadFile(kept); string(b) != "kept" {
			t.Errorf("what was synced: %q, %v", b, err)
		}
		if b, err := os.ReadFile(lost); string(b) == "lost" {
			t.Errorf("what was not synced: %q, %v", b, err)
		}
	}
}
