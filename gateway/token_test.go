package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
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
		mac := hmac.New(sha256.New, key[:])
		mac.Write([]byte{byte(c.Scheme())})
		mac.Write([]byte(text[strings.Index(text, ":")+1:]))
		want := Token(binary.BigEndian.Uint64(mac.Sum(nil)))
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
