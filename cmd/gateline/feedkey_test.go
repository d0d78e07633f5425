package main

import (
	"path/filepath"
	"strings"
	"testing"

	"gateline/internal/keyfile"
)

// A city's first key, the next one, and the change from one to the other, as an
// operator does it. Nothing that is printed or logged shows a secret.
func TestFeedKeysFromFirstToRotation(t *testing.T) {
	config := centralConfig(t)
	file := filepath.Join(t.TempDir(), "feed.key")
	config = replaceIn(t, config, "feed.key_file = ", "feed.key_file = \""+file+"\" #")
	var printed strings.Builder
	call := func(env environment, args ...string) result {
		r := gateline(t, env, nil, args...)
		printed.WriteString(r.out + r.err)
		return r
	}
	call(environment{}, "feed-key", "show", file).want(t, 1, "", "feed-key new")
	call(environment{}, "feed-key", "add", file).want(t, 1, "", "feed-key new")
	made := call(environment{}, "feed-key", "new", file)
	made.want(t, 0, "feedkey-", "keys = [\"feedkey-")
	call(environment{}, "feed-key", "new", file).want(t, 1, "", "is there already")
	call(environment{}, "feed-key", "show", file).want(t, 0, made.out, "")

	s, env := startCentral(t, config)
	first, _, _ := strings.Cut(made.out, " ")
	call(env, "ops", "stats").want(t, 0, "feed key     "+first+"\n", "")
	added := call(environment{}, "feed-key", "add", file)
	next, _, _ := strings.Cut(added.out, " ")
	added.want(t, 0, "feedkey-", "ops feed rotate-key "+next+"\n")
	// The centre has not read it yet.
	call(env, "ops", "feed", "rotate-key", "--yes", next).want(t, 1, "", "E122 中心没有该密钥")
	s.stop()
	printed.WriteString(s.log.String())

	s, env = startCentral(t, config)
	call(env, "ops", "feed", "rotate-key", "--yes", next).want(t, 0, "signs from the next entry on", "")
	call(env, "ops", "feed", "rotate-key", "--yes", next).want(t, 0, "nothing to do: ", "")
	call(env, "ops", "feed", "rotate-key", "--yes", first).want(t, 1, "", "E122")
	call(env, "ops", "stats").want(t, 0, "feed key     "+next+"\n", "")
	s.stop()
	printed.WriteString(s.log.String())
	secrets, err := keyfile.ReadFeedSecrets(file)
	if err != nil || len(secrets) != 2 {
		t.Fatal(len(secrets), err)
	}
	for _, secret := range secrets {
		if strings.Contains(printed.String(), secret.Reveal()[len("feedsecret-"):]) || strings.Contains(printed.String(), "feedsecret-") {
			t.Error("a secret is printed")
		}
	}
}
