// Package keyfile reads, and for the feed makes, the files in which centre and
// boxes are given their keys. No error shows anything of a key.
package keyfile

import (
	"fmt"
	"os"

	"gateline/gateway"
)

// MaxSize is the size in bytes above which a file is no key file.
const MaxSize = 1024

// ReadTokenKey reads the city's token key: 64 hexadecimal digits. The error
// names the file and the next step.
func ReadTokenKey(path string) (gateway.TokenKey, error) {
	text, err := Read(path)
	if err != nil {
		return gateway.TokenKey{}, err
	}
	key, err := gateway.ParseTokenKey(text)
	if err != nil {
		return key, fmt.Errorf("key file %s: %w: centre and boxes hold the same key; make a city's first with openssl rand -hex 32", path, err)
	}
	return key, nil
}

// Read returns the text of a key file as it is. Nobody but owner and group may
// have access to the file.
func Read(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("key file: %w: put the key there, owned by the service's user, mode 0600", err)
	case !info.Mode().IsRegular() || info.Size() > MaxSize:
		return "", fmt.Errorf("key file %s is no key: it is not a regular file of at most %d bytes", path, MaxSize)
	case info.Mode().Perm()&0o007 != 0:
		return "", fmt.Errorf("key file %s is open to everybody (mode %04o): chmod 0600 it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("key file: %w: its owner or group must be the service's user", err)
	}
	return string(text), nil
}
