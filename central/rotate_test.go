package central

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// The feed changes its key while commands come in, goes on with the new key
// after a restart, and needs the old one no more.
func TestRotateFeedKey(t *testing.T) {
	log := &logtest.Buffer{}
	cfg := testConfig(t.TempDir(), log)
	one, two := cfg.FeedKeys[0].Public(), cfg.FeedKeys[1].Public()
	c := start(t, cfg)
	c.must(c.Bind(t.Context(), account(1), "ann"))
	d := c.must(c.RotateFeedKey(t.Context(), two))
	if d.Changed != 1 || c.must(c.RotateFeedKey(t.Context(), two)).Changed != 0 {
		t.Error("the second time something changed, or the first time nothing")
	}
	c.must(c.Bind(t.Context(), account(2), "ann"))
	for _, e := range c.checkFeed() {
		want := one.ID()
		if e.Number > d.Number {
			want = two.ID()
		}
		if e.Signer != want || (e.NextKey == two) != (e.Number == d.Number) {
			t.Errorf("entry %d is signed by %v, next key %v", e.Number, e.Signer, e.NextKey.ID())
		}
	}
	// Nobody can be led back to the retired key, nor to one that is not here.
	for _, key := range []gateway.FeedKey{one, gateway.FeedSecret{9}.Public()} {
		var refusal *Refusal
		if _, err := c.RotateFeedKey(t.Context(), key); !errors.As(err, &refusal) || refusal.Code != CodeNoKey || !strings.Contains(refusal.Detail, "feed-key add") {
			t.Errorf("%v: %v", key.ID(), err)
		}
	}
	c.must(c.Bind(t.Context(), account(3), "ann")) // it goes on after a refusal
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}

	cfg.FeedKeys = cfg.FeedKeys[1:]
	c = start(t, cfg)
	c.must(c.Bind(t.Context(), account(4), "ann"))
	stats, _, err := c.Stats(t.Context())
	if err != nil || stats.Key != two.String() {
		t.Errorf("stats %+v, %v", stats, err)
	}
	c.cfg.FeedKeys = []gateway.FeedSecret{{1}} // what a late joiner trusts
	c.checkFeed()
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}

	cfg.FeedKeys = []gateway.FeedSecret{{1}}
	if lost, err := Open(cfg); !errors.Is(err, replication.ErrNoKey) || !strings.Contains(err.Error(), two.ID().String()) || !strings.Contains(err.Error(), "put that key back") {
		t.Errorf("without the key in force: %v", err)
		if err == nil {
			_ = lost.Close()
		}
	}
	for _, secret := range []gateway.FeedSecret{{1}, {2}} {
		if strings.Contains(log.String(), secret.Reveal()[11:]) {
			t.Error("the log shows a secret")
		}
	}
}

func TestRotateRequests(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	for _, text := range []string{`{}`, `{"key":"x"}`, `{"key":1}`, `{"keys":""}`, fmt.Sprintf(`{"key":%q}`, gateway.FeedSecret{3}.Reveal())} {
		_, m := ask(t, c.Client.conn, SubjectFeedRotate, text)
		if got := string(m.Data); !strings.Contains(got, `"E100"`) || strings.Contains(got, gateway.FeedSecret{3}.Reveal()[11:]) {
			t.Errorf("%s: %s", text, got)
		}
	}
}
