package station

import (
	"strings"
	"testing"

	"gateline/gateway"
)

func TestConfigFeedKeys(t *testing.T) {
	one, two := gateway.FeedSecret{1}.Public().String(), gateway.FeedSecret{2}.Public().String()
	secret := gateway.FeedSecret{3}.Reveal()
	for feed, want := range map[string]string{
		`keys = ["` + one + `"]`:                "",
		`keys = ["` + one + `", "` + two + `"]`: "",
		``:                                      "box.toml:5: feed.keys: missing: give the centre's public key, which gateline feed-key show",
		`keys = []`:                             "box.toml:6: feed.keys: missing",
		`keys = "` + one + `"`:                  "box.toml:6: feed.keys: not a list of strings",
		`keys = ["` + one + `", "` + one + `"]`: "box.toml:6: feed.keys: key 2 stands there twice",
		`keys = ["` + one + `", "` + two[:20] + `"]`:   "box.toml:6: feed.keys: key 2: bad feed key: it is not feedkey- and 64 hexadecimal digits",
		`keys = ["` + secret + `"]`:                    "box.toml:6: feed.keys: key 1: bad feed key: this is the secret",
		`key_file = "/etc/feed.pub"`:                   "box.toml:6: feed.key_file: unknown key",
		`keys = [` + strings.Repeat(`"a", `, 17) + `]`: "box.toml:6: feed.keys: 17 values, at most 16",
	} {
		c, err := ParseConfig("box.toml", []byte("station = \"a\"\n[centre]\nurl = \"nats-leaf://127.0.0.1:1\"\n\n[feed]\n"+feed+
			"\n[[line]]\nname = \"n\"\ntcp = \"h:1\"\n[[line.gate]]\nname = \"N1\"\naddress = 1\n"), DefaultConfig())
		switch {
		case want == "":
			if err != nil || len(c.FeedKeys) == 0 || c.FeedKeys[0].String() != one || c.FeedKeys[len(c.FeedKeys)-1].String() != one && c.FeedKeys[1].String() != two {
				t.Errorf("%s: %v, %v", feed, c.FeedKeys, err)
			}
		case err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret[11:]):
			t.Errorf("%s: %v, want %q", feed, err, want)
		}
	}
}
