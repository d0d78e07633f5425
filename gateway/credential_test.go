package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestNewCredential(t *testing.T) {
	for _, c := range []struct {
		name   string
		scheme Scheme
		number string
		want   string // canonical number; "" = refused
	}{
		{"tunion 19", SchemeTUnion, "3104770012345678901", "3104770012345678901"},
		{"tunion 20 with leading zero", SchemeTUnion, "03104770012345678901", "3104770012345678901"},
		{"tunion 20 without", SchemeTUnion, "13104770012345678901", ""},
		{"tunion 0", SchemeTUnion, "", ""},
		{"tunion 18", SchemeTUnion, "310477001234567890", ""},
		{"tunion 64", SchemeTUnion, strings.Repeat("1", 64), ""},
		{"tunion letters", SchemeTUnion, "31047700123456789AB", ""},
		{"tunion full width", SchemeTUnion, "３１０４７７００１２３４５６７８９０１", ""},
		{"tunion blank inside", SchemeTUnion, "310477001234567 901", ""},
		{"chip upper", SchemeChip, "0123456789ABCDEF", "0123456789ABCDEF"},
		{"chip lower", SchemeChip, "0123456789abcdef", "0123456789ABCDEF"},
		{"chip 15", SchemeChip, "0123456789ABCDE", ""},
		{"chip not hex", SchemeChip, "0123456789ABCDEG", ""},
		{"ride shortest", SchemeRide, "10017", "10017"},
		{"ride longest", SchemeRide, "1001" + strings.Repeat("7", 20), "1001" + strings.Repeat("7", 20)},
		{"ride without account", SchemeRide, "1001", ""},
		{"ride too long", SchemeRide, "1001" + strings.Repeat("7", 21), ""},
		{"ride letters", SchemeRide, "1001abc", ""},
		{"none", SchemeNone, "3104770012345678901", ""},
		{"foreign scheme", Scheme(9), "3104770012345678901", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := NewCredential(c.scheme, []byte(c.number))
			if c.want == "" {
				if !errors.Is(err, ErrCredential) || got.Readable() {
					t.Fatalf("accepted, err %v", err)
				}
				if len(c.number) > 4 && strings.Contains(err.Error(), c.number[:5]) {
					t.Errorf("the error shows the number: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if number := string(got.AppendNumber(nil)); number != c.want || got.Scheme() != c.scheme {
				t.Errorf("got %v %s, want %s", got.Scheme(), number, c.want)
			}
		})
	}
}

// The same card by print, by NFC read and by gate read is one credential
// (NUM-03).
func TestOneCardOneCredential(t *testing.T) {
	printed, err := ParsePrinted(" 3104770 0123 4567 8901\t")
	if err != nil {
		t.Fatal(err)
	}
	nfc, err := NewCredential(SchemeTUnion, []byte("03104770012345678901"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := ParseCredential("tunion:3104770012345678901")
	if err != nil {
		t.Fatal(err)
	}
	if printed != nfc || nfc != text {
		t.Error("the three readings of a card differ")
	}
}

func TestParseCredential(t *testing.T) {
	for _, good := range []string{"3104770012345678901", "chip:0123456789abcdef", "ride:1001000000000042"} {
		c, err := ParseCredential(good)
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		text, err := c.AppendText(nil)
		if again, err2 := ParseCredential(string(text)); err != nil || err2 != nil || again != c {
			t.Errorf("%s does not survive its text form", good)
		}
	}
	for _, bad := range []string{"", ":", "tunion:", "card:3104770012345678901", "TUNION:3104770012345678901",
		"03104770012345678901", "１１１１１１１１１１１１１１１１１１１", "310477001234567890", strings.Repeat("1", 64)} {
		if c, err := ParseCredential(bad); !errors.Is(err, ErrCredential) || c.Readable() {
			t.Errorf("%q: accepted, err %v", bad, err)
		}
	}
	if _, err := (Credential{}).AppendText(nil); err == nil {
		t.Error("the zero credential has a text form")
	}
}

// Nothing prints a credential, a token, a key or a record, whatever the verb.
func TestSecretsAreNotMarshalled(t *testing.T) {
	c, err := ParseCredential("tunion:3104770012345678901")
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal([]any{c, NewTokenizer(TokenKey{1}).Token(c), TokenKey{0xab}, Record{Class: ClassRed, Anchor: 19140}, map[Token]int{77: 1}})
	if want := `["credential:hidden","token:hidden","key:hidden","record:hidden",{"token:hidden":1}]`; err != nil || string(out) != want {
		t.Errorf("%s, %v", out, err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c, err := ParseCredential("tunion:3104770012345678901")
	if err != nil {
		t.Fatal(err)
	}
	key := TokenKey{0xab, 0xcd, 0xef}
	token := NewTokenizer(key).Token(c)
	tap := Tap{Gate: 1, Credential: c}
	change := Change{Token: token, Record: Record{Class: ClassRed, Anchor: 19140}}
	number, hexToken := "3104770012345678901", fmt.Sprintf("%x", uint64(token))
	for _, v := range []any{c, &c, token, key, tap, &tap, change, []Change{change}, map[Token]Record{token: change.Record}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%X", "%q", "%o"} {
			out := strings.ToLower(fmt.Sprintf(verb, v))
			for _, secret := range []string{number, number[:8], hexToken, fmt.Sprint(uint64(token)), "abcdef", "171 205 239", "19140", "4ac4"} {
				if strings.Contains(out, secret) {
					t.Errorf("%s of %T shows a secret: %s", verb, v, out)
				}
			}
		}
	}
}
