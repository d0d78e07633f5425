package replication

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/gateway"
)

func TestLive(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	store, log := newMemory(), &lines{}
	applied := make(chan gateway.Update, 64)
	box, _ := startBox(t, c.url(), store, log, func(cfg *BoxConfig) {
		cfg.OnApplied = func(u gateway.Update) { applied <- u }
	})
	until(t, "link up", box.Connected)
	until(t, "asked", func() bool { return box.Stats().Fetches > 0 })
	asked := box.Stats().LastHeard
	until(t, "answered", func() bool { return box.Stats().LastHeard.After(asked) })

	policies := gateway.Schedule{Version: 1, Policies: []gateway.Policy{gateway.DefaultPolicy(time.Unix(1_660_000_000, 0))}}
	e := Entry{Time: time.Now().UnixMicro(), Schedule: &policies}
	if err := c.pub.Publish(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
	if u := <-applied; !u.Complete || u.To.Number != 1 || u.Schedule == nil {
		t.Errorf("first update: complete %v, number %d, schedule %v", u.Complete, u.To.Number, u.Schedule != nil)
	}
	c.publish(50)
	same(t, c, store)
	if u := <-applied; u.Complete || len(u.Changes) != 1 {
		t.Errorf("second update: complete %v, %d changes", u.Complete, len(u.Changes))
	}
	if s := box.Stats(); s.Applied != 51 || s.Position != store.Position() || s.Refused != 0 || !s.Connected {
		t.Errorf("stats %+v", s)
	}
}

func TestCatchUpFromZero(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	c.publish(2000)
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, c.url(), store, log, func(cfg *BoxConfig) {
		cfg.WindowBytes = 16 << 10
		cfg.PollInterval, cfg.QuietAfter = time.Hour, time.Hour // window must follow window
	})
	same(t, c, store)
	if store.complete != 2000 {
		t.Errorf("complete at entry %d, want 2000", store.complete)
	}
	if s := box.Stats(); s.Applied != 2000 || s.Fetches < 10 {
		t.Errorf("2000 entries in windows of 16 kB: %+v", s)
	}
	info, err := c.pub.stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Consumers != 0 {
		t.Errorf("the hub has %d consumers", info.State.Consumers)
	}
}

// The feed ended exactly at the box's position, and the store was never
// complete: the next heartbeat completes it.
func TestCompleteAtHeartbeat(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	c.publish(3)
	store := newMemory()
	_, stop := startBox(t, c.url(), store, &lines{}, nil)
	same(t, c, store)
	stop()
	store.complete = 0

	box, _ := startBox(t, c.url(), store, &lines{}, nil)
	until(t, "asked", func() bool { return !box.Stats().LastHeard.IsZero() })
	if store.Usable() {
		t.Error("complete before there was an entry")
	}
	if err := c.pub.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	same(t, c, store)
	if store.complete != 4 {
		t.Errorf("complete at entry %d, want 4", store.complete)
	}
}

func TestLinkCutAndHealed(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	p := newProxy(t, c.hub.LeafAddr())
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, p.url(), store, log, func(cfg *BoxConfig) {
		cfg.PollInterval, cfg.QuietAfter = time.Hour, time.Hour // coming back must be enough
	})
	c.publish(20)
	same(t, c, store)
	for round := range 3 {
		until(t, "link reported up", func() bool { return log.count("link to the centre is up") == round+1 })
		p.setCut(true)
		until(t, "link down", func() bool { return log.count("link to the centre is down") == round+1 })
		c.publish(100)
		if at := store.at(); at != c.pub.Last().Number-100 {
			t.Errorf("entry %d arrived over a cut link", at)
		}
		p.setCut(false)
		if round > 0 {
			c.publish(10) // while it reconnects
		}
		same(t, c, store)
	}
	if s := box.Stats(); s.Refused != 0 || s.Applied != c.pub.Last().Number {
		t.Errorf("stats %+v", s)
	}
	until(t, "last report", func() bool { return log.count("link to the centre is up") == 4 })
	if n := log.count("link to the centre is down"); n != 3 {
		t.Errorf("3 cuts, %d reports:\n%s", n, log)
	}
}

// A link that goes silent while TCP stays connected is found by pings.
func TestSilentLink(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	p := newProxy(t, c.hub.LeafAddr())
	store := newMemory()
	box, _ := startBox(t, p.url(), store, &lines{}, func(cfg *BoxConfig) { cfg.PingInterval = 300 * time.Millisecond })
	c.publish(5)
	same(t, c, store)
	p.setStall(true)
	c.publish(50)
	until(t, "link found dead", func() bool { return !box.Connected() })
	p.setStall(false)
	same(t, c, store)
}

// The network drops the packets of a connection without a word, and lets new
// ones through: the box notices by itself, long before pings do.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	p := newProxy(t, c.hub.LeafAddr())
	store, log := newMemory(), &lines{}
	startBox(t, p.url(), store, log, func(cfg *BoxConfig) { cfg.PingInterval, cfg.DeadAfter = time.Hour, 700*time.Millisecond })
	c.publish(5)
	same(t, c, store)
	p.swallow()
	c.publish(50)
	until(t, "link made anew", func() bool { return log.count("the link to the centre is up") == 2 })
	c.publish(1)
	same(t, c, store)
	if log.count("nothing has been heard from the centre") == 0 {
		t.Error("it is not logged")
	}
}

func TestWatchdog(t *testing.T) {
	var w watchdog
	up := time.Date(2022, 5, 30, 8, 0, 0, 0, time.UTC)
	w.since = up
	var broken []time.Duration
	for s := range 600 {
		if now := up.Add(time.Duration(s) * time.Second); w.due(now, time.Time{}, 8*time.Second) {
			broken = append(broken, now.Sub(up))
		}
	}
	want := []time.Duration{8, 24, 56, 120, 240, 360, 480}
	for i := range want {
		want[i] *= time.Second
	}
	if !slices.Equal(broken, want) {
		t.Errorf("over a link without a feed it is broken after %v, not %v", broken, want)
	}
	heard := up.Add(time.Hour)
	if w.due(heard.Add(7*time.Second), heard, 8*time.Second) || !w.due(heard.Add(8*time.Second), heard, 8*time.Second) {
		t.Error("once something was heard the pause is not the first again")
	}
}

func TestHubRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openCentre(t, dir, "127.0.0.1:0")
	addr := c.hub.LeafAddr()
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, c.url(), store, log, nil)
	c.publish(30)
	same(t, c, store)
	last := c.pub.Last()
	c.close()
	until(t, "link down", func() bool { return !box.Connected() })

	again := openCentre(t, dir, addr)
	again.want = c.want
	if got := again.pub.Last(); fmt.Sprint(got) != fmt.Sprint(last) {
		t.Errorf("reopened publisher at %+v, want %+v", got, last)
	}
	again.publish(30)
	same(t, again, store)
	if s := box.Stats(); s.Applied != 60 || s.Refused != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestBoxRestart(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	store := newMemory()
	for round := range 4 {
		c.publish(25)
		box, stop := startBox(t, c.url(), store, &lines{}, nil)
		same(t, c, store)
		c.publish(25)
		if round%2 == 0 {
			same(t, c, store) // else stopped somewhere on the way
		}
		stop()
		if err := box.Run(t.Context()); err == nil {
			t.Error("a closed box runs")
		}
	}
	_, _ = startBox(t, c.url(), store, &lines{}, nil)
	same(t, c, store)
}

func TestCentreNotThereAtStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openCentre(t, dir, "127.0.0.1:0")
	addr := c.hub.LeafAddr()
	c.close()
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, "nats-leaf://"+addr, store, log, nil)
	until(t, "one report", func() bool { return log.count("the centre is not reachable") == 1 })
	if box.Connected() || !strings.Contains(log.String(), "refused") {
		t.Errorf("no cause in:\n%s", log)
	}
	again := openCentre(t, dir, addr)
	again.publish(10)
	same(t, again, store)
	until(t, "link reported", func() bool { return log.count("link to the centre is up") == 1 })
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, log)
	}
}

// A hub made anew has another epoch: until it has all shards the box keeps what it
// has and says so.
func TestForeignEpoch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openCentre(t, dir, "127.0.0.1:0")
	addr := c.hub.LeafAddr()
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, c.url(), store, log, nil)
	c.publish(10)
	same(t, c, store)
	before := store.Position()
	c.close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}

	again := openCentre(t, dir, addr)
	// Shorter than the box's position: found by asking, not by an entry.
	until(t, "lost entries reported", func() bool { return log.count(ErrWentBack.Error()) == 1 })
	// Live entries and answers now differ in what is wrong; each is said once.
	for range 3 {
		refused := box.Stats().Refused
		again.publish(2)
		until(t, "refused live and on asking", func() bool { return box.Stats().Refused >= refused+3 })
	}
	again.publish(20)
	if got := store.Position(); got != before {
		t.Errorf("position %+v, want %+v", got, before)
	}
	store.check(t)
	for _, err := range []error{ErrForeignEpoch, ErrWentBack, ErrNoShards} {
		if n := log.count(err.Error()); n != 1 {
			t.Errorf("%v: reported %d times:\n%s", err, n, log)
		}
	}
}

// An update the store cannot take is neither lost nor skipped, nor applied twice
// where the store has taken it and failed at the next. What waited meanwhile is
// applied together.
func TestApplyErrors(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	store, log := newMemory(), &lines{}
	box, stop := startBox(t, c.url(), store, log, nil)
	c.publish(5)
	same(t, c, store)
	store.fail(errors.New("no space left on device"))
	c.publish(2 * liveBuffer) // more than may wait
	until(t, "3 attempts", func() bool { return box.Stats().ApplyErrors >= 3 })
	store.fail(nil)
	same(t, c, store)
	if failed, back := log.count("could not be applied"), log.count("applied again"); failed != 1 || back != 1 {
		t.Errorf("%d and %d reports:\n%s", failed, back, log)
	}
	store.fail(errors.New("no space left on device"))
	failed := box.Stats().ApplyErrors
	c.publish(2 * liveBuffer)
	until(t, "another attempt", func() bool { return box.Stats().ApplyErrors > failed })
	at := store.at()
	store.failHalf()
	until(t, "several are applied together, and fail at their half", func() bool { return store.at() > at+1 })
	store.fail(nil)
	same(t, c, store)
	store.fail(errors.New("no space left on device"))
	failed = box.Stats().ApplyErrors
	c.publish(1)
	until(t, "another attempt", func() bool { return box.Stats().ApplyErrors > failed })
	stop() // returns although the store still fails
	store.check(t)
}

// What is on the live subject and is no entry is refused and logged once.
func TestGarbageOnLiveSubject(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, c.url(), store, log, nil)
	c.publish(1)
	same(t, c, store)
	for range 10 {
		if err := c.js.Conn().Publish(SubjectLive, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "10 refused", func() bool { return box.Stats().Refused == 10 })
	c.publish(1)
	same(t, c, store)
	if n := log.count(ErrEntry.Error()); n != 1 {
		t.Errorf("reported %d times:\n%s", n, log)
	}
}

// A feed whose first entries are gone is refused until there are shards.
func TestMissingEntries(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	c.publish(10)
	info, err := c.pub.stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	limited := info.Config
	limited.MaxMsgs = 4
	if _, err := c.js.UpdateStream(t.Context(), limited); err != nil {
		t.Fatal(err)
	}
	store, log := newMemory(), &lines{}
	_, _ = startBox(t, c.url(), store, log, nil)
	until(t, "reported", func() bool { return log.count(ErrMissing.Error()) == 1 })
	c.publish(3)
	if got := store.Position(); got != (gateway.Position{}) {
		t.Errorf("position %+v", got)
	}
}

func TestCentreWithoutFeed(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	if err := c.js.DeleteStream(t.Context(), StreamFeed); err != nil {
		t.Fatal(err)
	}
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, c.url(), store, log, func(cfg *BoxConfig) { cfg.FetchTimeout = 50 * time.Millisecond })
	until(t, "reported", func() bool { return log.count("does not answer about its feed") == 1 })
	if !box.Connected() {
		t.Error("not connected")
	}
	pub, err := OpenPublisher(t.Context(), c.js, testPublisher())
	if err != nil {
		t.Fatal(err)
	}
	c.pub = pub
	c.publish(3)
	same(t, c, store)
	until(t, "end reported", func() bool { return log.count("feed answers again") == 1 })
}

func TestBoxConfigRefused(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                  "nats-leaf://host:port",
		"http://centre:7422":                "nats-leaf://host:port",
		"nats-leaf://":                      "nats-leaf://host:port",
		"nats-leaf://centre:70000000/x":     "nats-leaf://host:port",
		"nats-leaf://me:secret@centre":      "must not hold a user",
		"nats-leaf://me:secret@centre:x":    "cannot be read",
		"nats-leaf://centre:port":           "cannot be read",
		"nats-leaf://a,":                    "nats-leaf://host:port",
		"http://a,nats-leaf://b":            `"http://a" is not`,
		"nats-leaf://a, nats-leaf://a:7422": "a:7422 stands there twice",
		"nats-leaf://a,nats-leaf://b,nats-leaf://c,nats-leaf://d,nats-leaf://e,nats-leaf://f,nats-leaf://g,nats-leaf://h,nats-leaf://i,nats-leaf://j": "10 addresses, at most 9",
	} {
		box, err := OpenBox(BoxConfig{Station: "No Such", CentreURL: url})
		if err == nil {
			t.Errorf("%q accepted", url)
			_ = box.Close()
			continue
		}
		for _, part := range []string{want, "station's name", "no store", "no public key"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %q not in %v", url, part, err)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password", url)
		}
	}
	addresses, err := CentreAddresses("nats-leaf://centre, nats-leaf://10.0.0.7:7,nats-leaf://[fd00::1]")
	if want := []string{"centre:7422", "10.0.0.7:7", "[fd00::1]:7422"}; err != nil || !slices.Equal(addresses, want) {
		t.Errorf("%v, %v; want %v", addresses, err, want)
	}
}

// A box has no permission to anything but these subjects, so nothing else may
// be asked for.
func TestSubjectsOfABox(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "127.0.0.1:0")
	seen := make(chan *nats.Msg, 256)
	// Not $JS.EVENT: there the centre's own server reports.
	for _, subject := range []string{"$JS.API.>", "$JS." + Domain + ".>"} {
		if _, err := c.js.Conn().ChanSubscribe(subject, seen); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	store := newMemory()
	_, stop := startBox(t, c.url(), store, &lines{}, nil)
	until(t, "a question", func() bool { return len(seen) > 2 })
	stop()
	for len(seen) > 0 {
		m := <-seen
		// The hub knows the way back; what the box gave stays in its account.
		if m.Subject != directGetOf(StreamFeed) && m.Subject != directGetOf(StreamShards) || !strings.HasPrefix(m.Reply, "_R_.") {
			t.Errorf("a box asked on %s, answer to %s", m.Subject, m.Reply)
		}
	}
}
