package station

import (
	"fmt"
	"strings"

	"gateline/gateway"
	"gateline/replication"
)

// checkFeedKeys compares the keys of the configuration with those that the store
// has followed the feed by. It comes after checkCache.
func (c *checker) checkFeedKeys() Finding {
	const thing = "feed keys"
	var configured []string
	for _, key := range c.cfg.FeedKeys {
		configured = append(configured, key.ID().String())
	}
	text := "configured: " + strings.Join(configured, ", ")
	switch {
	case c.running:
		return ok(thing, "%s; the store of the running box is not looked at", text)
	case len(c.terms) == 0:
		return ok(thing, "%s; no feed followed yet", text)
	case !replication.Anchored(c.terms, c.cfg.FeedKeys):
		return fault(thing, "%s; this box has followed the feed by others, %s, and takes nothing from it any more: put one of those back into [feed] keys, or, if the centre's feed was made anew, move [cache] dir away",
			text, termText(c.terms))
	}
	return ok(thing, "%s; feed followed by %s", text, termText(c.terms))
}

// termText names keys by their ids, with the entry from which each has signed.
func termText(terms []gateway.KeyTerm) string {
	var all []string
	for _, t := range terms {
		all = append(all, fmt.Sprintf("%v from entry %d", t.Key.ID(), t.From))
	}
	return strings.Join(all, ", ")
}
