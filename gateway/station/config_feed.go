package station

import (
	"slices"

	"gateline/gateway"
	"gateline/internal/tomlconf"
)

// maxFeedKeys bounds the keys of a configuration: those of all terms that a box
// remembers.
const maxFeedKeys = gateway.MaxKeyTerms

// parseFeed reads the public keys of the centre.
func parseFeed(root tomlconf.Table, c *Config) {
	t := root.Table("feed")
	defer t.End()
	var texts []string
	given := t.Has("keys")
	t.Strings("keys", &texts, maxFeedKeys)
	switch {
	case given && texts == nil: // reported already
	case given && len(texts) > 0:
		c.FeedKeys = nil
	case given || len(c.FeedKeys) == 0:
		t.Fault("keys", "missing: give the centre's public key, which gateline feed-key show prints at the centre; without it nothing the centre says can be believed")
	}
	for i, text := range texts {
		key, err := gateway.ParseFeedKey(text)
		switch {
		case err != nil: // the text is not repeated: it may be a secret
			t.Fault("keys", "key %d: %v", i+1, err)
		case slices.Contains(c.FeedKeys, key):
			t.Fault("keys", "key %d stands there twice", i+1)
		default:
			c.FeedKeys = append(c.FeedKeys, key)
		}
	}
}
