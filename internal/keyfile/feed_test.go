package keyfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gateline/gateway"
)

func TestFeedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.key")
	first, next := gateway.FeedSecret{1}, gateway.FeedSecret{2}
	if _, err := ReadFeedSecrets(path); err == nil || !strings.Contains(err.Error(), "feed-key new") || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: %v", err)
	}
	if err := AddFeedSecret(path, next); err == nil {
		t.Error("a key was added to no file")
	}
	if err := MakeFeedFile(path, first); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := MakeFeedFile(path, next); err == nil || !strings.Contains(err.Error(), "feed-key add") {
		t.Errorf("a file was replaced: %v", err)
	}
	want := []gateway.FeedSecret{first}
	for len(want) < MaxFeedSecrets {
		secret := gateway.FeedSecret{byte(10 + len(want))}
		if err := AddFeedSecret(path, secret); err != nil {
			t.Fatal(err)
		}
		want = append(want, secret)
	}
	got, err := ReadFeedSecrets(path)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d keys, %v", len(got), err)
	}
	if err := AddFeedSecret(path, next); err == nil || !strings.Contains(err.Error(), "retired") {
		t.Errorf("one too many: %v", err)
	}
	// The largest file is one that is read.
	if info, err = os.Stat(path); err != nil || info.Size() > MaxSize {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
}

func TestFeedFileFaults(t *testing.T) {
	good := gateway.FeedSecret{7}.Reveal()
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"empty":     {"\n\n", 0o600, "has 0 keys"},
		"token key": {strings.Repeat("ab", 32), 0o600, "line 1"},
		"public":    {gateway.FeedSecret{7}.Public().String(), 0o600, "feedsecret-"},
		"twice":     {good + "\n\n" + good + "\n", 0o600, "line 3: bad feed key: it stands there twice"},
		"open":      {good, 0o644, "chmod 0600"},
		"too many":  {good + gateway.FeedSecret{1}.Reveal(), 0o600, "line 1"},
	} {
		path := filepath.Join(t.TempDir(), "feed.key")
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := ReadFeedSecrets(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), good[20:40]) || strings.Contains(err.Error(), "abab") {
			t.Errorf("%s: the key is shown", name)
		}
	}
}

func TestNewFeedSecret(t *testing.T) {
	if a, b := NewFeedSecret(), NewFeedSecret(); a == b || a == (gateway.FeedSecret{}) {
		t.Error("keys are not random")
	}
}
