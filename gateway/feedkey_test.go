package gateway

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The first vector of RFC 8032, section 7.1: an empty message.
const (
	rfcSecret    = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
	rfcPublic    = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
	rfcSignature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)

func TestFeedKey(t *testing.T) {
	secret, err := ParseFeedSecret(" feedsecret-" + rfcSecret + "\n")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseFeedKey("feedkey-" + rfcPublic)
	if err != nil || key != secret.Public() || key.String() != "feedkey-"+rfcPublic {
		t.Errorf("%v, %v", key, err)
	}
	if secret.Reveal() != "feedsecret-"+rfcSecret {
		t.Error("the secret is not written as it was read")
	}
	// sha256sum of the 32 bytes.
	if got := key.ID().String(); got != "21fe31dfa154a261" {
		t.Errorf("id %s", got)
	}
	signature, err := secret.Signer().Sign(nil, nil, crypto.Hash(0))
	if err != nil || hex.EncodeToString(signature) != rfcSignature {
		t.Errorf("%x, %v", signature, err)
	}
	if !key.Verify(nil, signature) || key.Verify([]byte("x"), signature) || (FeedKey{1}).Verify(nil, signature) || key.Verify(nil, signature[:10]) {
		t.Error("verification")
	}
}

func TestParseFeedKeyRefuses(t *testing.T) {
	for _, text := range []string{
		"", rfcPublic, "feedkey-", "feedkey-" + rfcPublic[:63], "feedkey-" + rfcPublic + "0", "feedkey-" + strings.Repeat("0", 64),
		"feedkey-" + strings.Repeat("xy", 32), "feedsecret-" + rfcSecret, "feedsecret-" + rfcSecret[:63], "feedsecret-" + strings.Repeat("0", 64), "FEEDKEY-" + rfcPublic,
	} {
		_, err := ParseFeedKey(text)
		if !errors.Is(err, ErrFeedKey) || len(text) > 12 && strings.Contains(err.Error(), text[11:]) {
			t.Errorf("public %q: %v", text, err)
		}
		if text == "feedsecret-"+rfcSecret {
			if !strings.Contains(err.Error(), "make a new key") {
				t.Errorf("no word of a secret in the wrong place: %v", err)
			}
			continue
		}
		if _, err := ParseFeedSecret(text); !errors.Is(err, ErrFeedKey) || len(text) > 12 && strings.Contains(err.Error(), text[11:]) {
			t.Errorf("secret %q: %v", text, err)
		}
	}
}

func TestFeedSecretHides(t *testing.T) {
	secret, err := ParseFeedSecret("feedsecret-" + rfcSecret)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(map[string]any{"a": secret, "b": []FeedSecret{secret}})
	if err != nil {
		t.Fatal(err)
	}
	shown := string(encoded) + fmt.Sprintf("%v %+v %#v %x %s %d %v", secret, secret, secret, secret, secret, secret, []FeedSecret{secret})
	if strings.Contains(shown, "9d61") || strings.Contains(shown, "157") || !strings.Contains(shown, "key:hidden") {
		t.Errorf("the secret is shown: %s", shown)
	}
}
