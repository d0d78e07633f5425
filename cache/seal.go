package cache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gateline/internal/durable"
)

// Everything the store knows of records, the values of shards and the steps of the
// journal, is sealed with AES-256-GCM under a key in a file of its own. A purge
// makes a new key and destroys the old one, and with it every copy of what that
// had sealed: in tables, logs, deleted files and blocks nobody points to any more.

const (
	// keyFilePrefix and a generation, from 1, name a key's file.
	keyFilePrefix = "KEY-"
	keySize       = 32
	// A sealed value begins with the generation of its key and the nonce.
	generationSize = 4
	nonceSize      = 12
	tagSize        = 16
	sealSize       = generationSize + nonceSize + tagSize
)

var errSealed = errors.New("it is cut short, was changed, or is of another key")

// sealer seals with the key of one generation.
type sealer struct {
	generation uint32
	aead       cipher.AEAD
}

func newSealer(generation uint32, key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &sealer{generation: generation, aead: aead}, nil
}

// seal returns value as it is stored under key.
func (s *sealer) seal(key, value []byte) []byte {
	b := make([]byte, generationSize+nonceSize, len(value)+sealSize)
	binary.BigEndian.PutUint32(b, s.generation)
	_, _ = rand.Read(b[generationSize:]) // never fails
	return s.aead.Seal(b, b[generationSize:], value, key)
}

// unseal returns what was sealed, in the memory of into if that is enough; nothing
// of nothing.
func (s *sealer) unseal(into, key, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	if len(sealed) < sealSize || binary.BigEndian.Uint32(sealed) != s.generation {
		return nil, errSealed
	}
	nonce := sealed[generationSize : generationSize+nonceSize]
	value, err := s.aead.Open(into[:0], nonce, sealed[generationSize+nonceSize:], key)
	if err != nil {
		return nil, errSealed // GCM's own says no more
	}
	return value, nil
}

func (h *home) keyFile(generation uint32) string {
	return filepath.Join(h.path, keyFilePrefix+strconv.FormatUint(uint64(generation), 10))
}

// makeKey makes the key of a generation; it is on the disk when makeKey returns.
func (h *home) makeKey(generation uint32) (*sealer, error) {
	var key [keySize]byte
	_, _ = rand.Read(key[:]) // never fails
	path := h.keyFile(generation)
	// Whole or not at all: half a key would be damage.
	if err := durable.WriteFile(path, []byte(hex.EncodeToString(key[:])+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the key of the store, %s: %w; see to the disk, then start again", path, err)
	}
	return newSealer(generation, key[:])
}

// readKey reads the key of a generation. The error wraps fs.ErrNotExist where there
// is none.
func (h *home) readKey(generation uint32) (*sealer, error) {
	path := h.keyFile(generation)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key of the store: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSuffix(string(text), "\n"))
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("read the key of the store, %s: it is not %d hexadecimal digits", path, hex.EncodedLen(keySize))
	}
	return newSealer(generation, key)
}

// destroyKeys leaves of all keys only that of a generation: the others are written
// over where they lie, then removed. Keys above it are of purges that came to
// nothing, those whose names begin with a dot of writes that a kill has cut off.
func (h *home) destroyKeys(keep uint32) error {
	entries, err := os.ReadDir(h.path)
	if err != nil {
		return fmt.Errorf("look for keys of the store: %w; give the box's user access to it", err)
	}
	destroyed := false
	for _, e := range entries {
		path := filepath.Join(h.path, e.Name())
		if !strings.HasPrefix(strings.TrimPrefix(e.Name(), "."), keyFilePrefix) || path == h.keyFile(keep) {
			continue
		}
		if err := overwrite(path); err != nil {
			return fmt.Errorf("destroy a key of the store, %s: %w; what it had sealed can be read as long as it is there: see to the disk, then start the box again", path, err)
		}
		destroyed = true
	}
	if !destroyed {
		return nil
	}
	return syncDir(h.path)
}

// overwrite replaces a file's bytes in place, durably, and removes it.
func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}
