package central

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateline/internal/logtest"
)

func TestReceipt(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	history(t, cfg)
	cfg.FeedKeep = 100 * time.Hour
	r, err := Compact(t.Context(), CompactConfig{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(cfg.Dir, ReceiptsFolder, fmt.Sprintf("compact-%d.json", r.Destroyed.Last)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadReceipt(text); err != nil || got != r || got.Key != cfg.FeedKeys[0].Public().String() || got.FeedKeep != "100h0m0s" {
		t.Errorf("%+v, %v", got, err)
	}
	for name, bad := range map[string]string{
		"empty":            "",
		"changed":          strings.Replace(string(text), `"persons": 6`, `"persons": 5`, 1),
		"of another":       strings.Replace(string(text), r.Key, "feedkey-"+strings.Repeat("01", 32), 1),
		"without key":      strings.Replace(string(text), r.Key, "", 1),
		"not signed":       strings.Replace(string(text), r.Signature, "", 1),
		"another version":  strings.Replace(string(text), `"v": 1`, `"v": 2`, 1),
		"an unknown field": strings.Replace(string(text), `"v": 1`, `"v": 1, "x": 1`, 1),
		"two of them":      string(text) + string(text),
	} {
		if _, err := ReadReceipt([]byte(bad)); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
