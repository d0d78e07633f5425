package osdp

import (
	"testing"

	"gateline/gateway"
)

func TestReadMap(t *testing.T) {
	m := DefaultReadMap()
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	chip := []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	for _, c := range []struct {
		name string
		r    Read
		want string // empty = unreadable
	}{
		{"card", Read{Bits: 80, Data: someCard}, "tunion:3104770012345678901"},
		{"chip", Read{Bits: 64, Data: chip}, "chip:0123456789ABCDEF"},
		{"ride", Read{Bits: 128, Data: []byte("1001000000000042")}, "ride:1001000000000042"},
		{"26-bit Wiegand", Read{Bits: 26, Data: []byte{1, 2, 3, 0x40}}, ""},
		{"letters in a card", Read{Bits: 80, Data: []byte{0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, ""},
		{"nothing", Read{}, ""},
		{"too long", Read{Bits: 1024, Data: make([]byte, 128)}, ""},
	} {
		got := m.Credential(c.r)
		if c.want == "" {
			if got.Readable() {
				t.Errorf("%s: readable", c.name)
			}
			continue
		}
		if want, err := gateway.ParseCredential(c.want); err != nil || got != want {
			t.Errorf("%s: not %s", c.name, c.want)
		}
	}
	for name, bad := range map[string]ReadMap{
		"none": {}, "short card": {{Bits: 20, As: ReadTUnion}}, "long chip": {{Bits: 80, As: ReadChip}}, "odd ride": {{Bits: 12, As: ReadRide}},
		"issuer only": {{Bits: 32, As: ReadRide}}, "twice": {{Bits: 80, As: ReadTUnion}, {Bits: 80, As: ReadTUnion}}, "as nothing": {{Bits: 80}},
		"characters of a chip": {{Bits: 64, As: ReadChip, Formatted: true}}, "never reached": {{As: ReadRide}, {Bits: 80, As: ReadTUnion}},
	} {
		if bad.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
