package station

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"gateline/drivers/direct"
	"gateline/drivers/osdp"
	"gateline/gateway"
	"gateline/internal/keyfile"
)

// ReadTokenKey reads the city's token key as keyfile.ReadTokenKey does.
func ReadTokenKey(path string) (gateway.TokenKey, error) { return keyfile.ReadTokenKey(path) }

var errGateKey = errors.New("a gate's key is 32 hexadecimal digits, not all zero: make one with openssl rand -hex 16")

func readGateKey(path string) (key [direct.KeySize]byte, err error) {
	text, err := keyfile.Read(path)
	if err != nil {
		return key, err
	}
	raw, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != len(key) || [direct.KeySize]byte(raw) == key {
		return key, fmt.Errorf("key file %s: %w", path, errGateKey)
	}
	return [direct.KeySize]byte(raw), nil
}

var errWeakKey = errors.New("holds a key that everybody tries first: make a random one with openssl rand -hex 16, here and in the reader")

// readReaderKey reads the key of a reader's Secure Channel. One that an attacker
// tries first is an error: it would only look secure.
func readReaderKey(path string) (osdp.Key, error) {
	raw, err := readGateKey(path)
	key := osdp.Key(raw)
	if err == nil && key.Weak() {
		err = fmt.Errorf("key file %s %w", path, errWeakKey)
	}
	return key, err
}
