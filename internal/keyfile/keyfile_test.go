package keyfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadTokenKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := strings.Repeat("ab", 32)
	for _, mode := range []os.FileMode{0o600, 0o400, 0o440, 0o640} {
		path := write("good", secret+"\n", 0o600)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		key, err := ReadTokenKey(path)
		if err != nil || key[0] != 0xab || key[31] != 0xab {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ path, want string }{
		"missing": {filepath.Join(dir, "none"), "put the key there"},
		"open":    {write("open", secret, 0o644), "chmod 0600"},
		"empty":   {write("empty", "", 0o600), "openssl rand -hex 32"},
		"short":   {write("short", secret[:63], 0o600), "openssl rand -hex 32"},
		"zero":    {write("zero", strings.Repeat("0", 64), 0o600), "all zero"},
		"letters": {write("letters", strings.Repeat("xy", 32), 0o600), "hexadecimal"},
		"folder":  {dir, "no key"},
		"large":   {write("large", strings.Repeat("ab", 1024), 0o600), "no key"},
	} {
		_, err := ReadTokenKey(c.path)
		switch {
		case err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path):
			t.Errorf("%s: %v", name, err)
		case strings.Contains(err.Error(), "abab") || strings.Contains(err.Error(), "xyxy"):
			t.Errorf("%s: the error shows the key", name)
		}
	}
}
