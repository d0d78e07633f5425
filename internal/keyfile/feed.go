package keyfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"gateline/gateway"
)

// MaxFeedSecrets is the largest number of keys in the centre's key file: the
// one in force, the next, and room for one that is not taken out yet.
const MaxFeedSecrets = 4

// ReadFeedSecrets reads the file of the keys with which the centre signs its
// feed: one a line, blank lines ignored, at least one. The error names the file
// and the next step.
func ReadFeedSecrets(path string) ([]gateway.FeedSecret, error) {
	text, err := Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("feed %w; a city's first is made with gateline feed-key new FILE; where there was one, put it back from its backup", err)
	}
	if err != nil {
		return nil, err
	}
	var secrets []gateway.FeedSecret
	number := 0
	for line := range strings.Lines(text) {
		number++
		if strings.TrimSpace(line) == "" {
			continue
		}
		secret, err := gateway.ParseFeedSecret(line)
		if err == nil && slices.Contains(secrets, secret) {
			err = fmt.Errorf("%w: it stands there twice", gateway.ErrFeedKey)
		}
		if err != nil {
			return nil, fmt.Errorf("feed key file %s, line %d: %w: gateline feed-key new makes one that is right", path, number, err)
		}
		secrets = append(secrets, secret)
	}
	if n := len(secrets); n == 0 || n > MaxFeedSecrets {
		return nil, fmt.Errorf("feed key file %s has %d keys, not 1 to %d: the key in force is needed, and the next while the keys are rotated", path, n, MaxFeedSecrets)
	}
	return secrets, nil
}

// NewFeedSecret makes a key of the system's randomness.
func NewFeedSecret() (s gateway.FeedSecret) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}

// MakeFeedFile makes a key file that only its owner may read, with one key in
// it. It never replaces a file.
func MakeFeedFile(path string, secret gateway.FeedSecret) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("feed key file %s is there already and was left as it is: gateline feed-key add puts the next key into it; a city's first belongs into a new file", path)
	}
	if err != nil {
		return fmt.Errorf("make feed key file: %w: name a folder that this user may write to", err)
	}
	return finish(f, path, secret)
}

// AddFeedSecret adds a key to a key file that can be read and has room.
func AddFeedSecret(path string, secret gateway.FeedSecret) error {
	secrets, err := ReadFeedSecrets(path)
	if err != nil {
		return err
	}
	if len(secrets) == MaxFeedSecrets {
		return fmt.Errorf("feed key file %s has %d keys, as many as it may: take out those that are retired", path, MaxFeedSecrets)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("add to feed key file: %w: its owner must be this user", err)
	}
	return finish(f, path, secret)
}

// finish writes a key on a line of its own and closes the file.
func finish(f *os.File, path string, secret gateway.FeedSecret) error {
	text := secret.Reveal() + "\n"
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		text = "\n" + text // the last line may lack its end
	}
	_, err := f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write feed key file %s: %w: see to the disk, then look at the file", path, err)
	}
	return nil
}
