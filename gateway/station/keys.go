package station

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"gateline/drivers/direct"
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
