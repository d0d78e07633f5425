package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func testKey(t testing.TB) TokenKey {
	key, err := ParseTokenKey(strings.Repeat("0123456789abcdef", 4) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestToken(t *testing.T) {
	key := testKey(t)
	tokens := NewTokenizer(key)
	for _, text := range []string{"tunion:3104770012345678901", "chip:0123456789ABCDEF", "ride:10017"} {
		c, err := ParseCredential(text)
		if err != nil {
			t.Fatal(err)
		}
		canonical := append([]byte{byte(c.Scheme())}, text[strings.Index(text, ":")+1:]...)
		want := Token(binary.BigEndian.Uint64(NewMAC(key[:]).Sum(canonical)))
		for range 2 { // the second run uses the state left by the first
			if got := tokens.Token(c); got != want {
				t.Errorf("%s: wrong token", text)
			}
		}
	}
}

// The same digits in two schemes are two credentials.
func TestTokenSeparatesSchemes(t *testing.T) {
	tokens := NewTokenizer(testKey(t))
	chip, err1 := NewCredential(SchemeChip, []byte("1001000000000042"))
	ride, err2 := NewCredential(SchemeRide, []byte("1001000000000042"))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if tokens.Token(chip) == tokens.Token(ride) {
		t.Error("one token for two credentials")
	}
}

func TestParseTokenKey(t *testing.T) {
	for _, bad := range []string{"", "abc", strings.Repeat("0", 64), strings.Repeat("zz", 32), strings.Repeat("ab", 33)} {
		if _, err := ParseTokenKey(bad); !errors.Is(err, ErrTokenKey) || len(bad) > 3 && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: err %v", bad, err)
		}
	}
}

func TestTokenDoesNotAllocate(t *testing.T) {
	tokens := NewTokenizer(testKey(t))
	c, err := ParseCredential("3104770012345678901")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { tokens.Token(c) }); n != 0 {
		t.Errorf("Token allocates %v times", n)
	}
}

func BenchmarkToken(b *testing.B) {
	tokens := NewTokenizer(testKey(b))
	c, err := ParseCredential("3104770012345678901")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		tokens.Token(c)
	}
}

// RFC 4493, section 4, and NIST SP 800-38B, appendix D.3.
func TestMACVectors(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	message := unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for key, tags := range map[string]map[int]string{
		"2b7e151628aed2a6abf7158809cf4f3c": {
			0: "bb1d6929e95937287fa37d129b756746", 16: "070a16b46b4d4144f79bdd9dd04a287c",
			40: "dfa66747de9ae63030ca32611497c827", 64: "51f0bebf7e3b9d92fc49741779363cfe",
		},
		"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4": {
			0: "028962f61b7bf89efc6b551f4667d983", 16: "28a7023f452e8f82bd4bf28d8c37c35c",
			40: "aaf3d8f1de5640c232f5b169b9c911e6", 64: "e1992190549f6ed5696a2c056c315410",
		},
	} {
		mac := NewMAC(unhex(key))
		for length, want := range tags {
			if got := hex.EncodeToString(mac.Sum(message[:length])); got != want {
				t.Errorf("key of %d bytes, message of %d: %s, want %s", len(key)/2, length, got, want)
			}
		}
	}
}
