package replication

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
)

// publishShard stores the snapshot of a shard as it has to be now.
func (c *centre) publishShard(id gateway.ShardID) {
	c.t.Helper()
	if err := c.pub.PublishShard(c.t.Context(), gateway.Shard{ID: id, Records: shardOf(c.want, id)}); err != nil {
		c.t.Fatal(err)
	}
}

// cycle stores a snapshot of every shard.
func (c *centre) cycle() {
	c.t.Helper()
	var shards [gateway.Shards]map[gateway.Token]gateway.Record
	for t, r := range c.want {
		id := gateway.ShardOf(t)
		if shards[id] == nil {
			shards[id] = map[gateway.Token]gateway.Record{}
		}
		shards[id][t] = r
	}
	for i := range shards {
		id := gateway.ShardID(i)
		if err := c.pub.PublishShard(c.t.Context(), gateway.Shard{ID: id, Records: shardOf(shards[id], id)}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// template is the directory of a centre with 40 entries, a schedule and a key
// change among them, and a snapshot of every shard. Writing 4096 synced messages
// takes a while, so tests have copies.
var template = struct {
	once sync.Once
	dir  string
	want map[gateway.Token]gateway.Record
}{}

func openShardedCentre(t *testing.T) *centre {
	t.Helper()
	template.once.Do(func() {
		dir, err := os.MkdirTemp("", "gateline-template")
		if err != nil {
			t.Fatal(err)
		}
		template.dir = dir
		t.Run("template", func(t *testing.T) {
			c := openCentre(t, dir, "")
			c.reopen(testPublisher(1, 2))
			c.publish(20)
			c.must(&Entry{Time: time.Now().UnixMicro(), Schedule: testSchedule(3)})
			if err := c.rotate(2); err != nil {
				t.Fatal(err)
			}
			c.publish(18)
			c.cycle()
			c.publish(1)
			template.want = c.want
		})
	})
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(template.dir)); err != nil {
		t.Fatal(err)
	}
	c := openCentreWith(t, dir, "127.0.0.1:0", testPublisher(1, 2))
	for token, r := range template.want {
		c.want[token] = r
	}
	return c
}

// reopen opens the publisher anew.
func (c *centre) reopen(cfg PublisherConfig) {
	c.t.Helper()
	pub, err := OpenPublisher(c.t.Context(), c.js, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.pub = pub
}

func (c *centre) must(e *Entry) {
	c.t.Helper()
	if err := c.pub.Publish(c.t.Context(), e); err != nil {
		c.t.Fatal(err)
	}
}

// entry returns an entry as it stands in the feed.
func (c *centre) entry(number uint64) *Signed {
	c.t.Helper()
	msg, err := c.pub.stream.GetMsg(c.t.Context(), number)
	if err != nil {
		c.t.Fatal(err)
	}
	return decode(c.t, msg.Data)
}

// shard returns the last message of a subject of the shards.
func (c *centre) shard(subject string) []byte {
	c.t.Helper()
	msg, err := c.pub.shards.stream.GetLastMsgForSubject(c.t.Context(), subject)
	if err != nil {
		c.t.Fatal(subject, err)
	}
	return msg.Data
}

// overwrite puts a message into the shards past the publisher.
func (c *centre) overwrite(subject string, data []byte) {
	c.t.Helper()
	if _, err := c.js.Publish(c.t.Context(), subject, data); err != nil {
		c.t.Fatal(err)
	}
	c.pub.shards.sequence++
}

// keep leaves the last n entries in the feed.
func (c *centre) keep(n int64) {
	c.t.Helper()
	info, err := c.pub.stream.Info(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	limited := info.Config
	limited.MaxMsgs = n
	if _, err := c.js.UpdateStream(c.t.Context(), limited); err != nil {
		c.t.Fatal(err)
	}
}

func TestPublishShard(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(50)
	id := gateway.ShardID(0)
	for token := range c.want {
		id = gateway.ShardOf(token)
	}
	c.publishShard(id)
	s, err := DecodeSnapshot(c.shard(subjectOfShard(id)))
	if err != nil || s.Shard.At != c.pub.position() || s.Shard.At.Number != 50 || len(s.Shard.Records) == 0 || !s.Verify(testKeys[0]) {
		t.Fatalf("%+v, %v", s.Shard.At, err)
	}
	c.publish(2)
	if got := c.entry(51).Checkpoint; got == nil || *got != (gateway.Checkpoint{Shard: id, Sum: s.Sum}) {
		t.Errorf("checkpoint %v", got)
	}
	if got := c.entry(52).Checkpoint; got != nil {
		t.Errorf("a second checkpoint %v", got)
	}
	// Two snapshots before one entry: the last has its checkpoint.
	c.publishShard(1)
	c.publishShard(2)
	c.publish(1)
	if got := c.entry(53).Checkpoint; got == nil || got.Shard != 2 {
		t.Errorf("checkpoint %v", got)
	}
	if err := c.pub.PublishShard(t.Context(), gateway.Shard{ID: 9, Records: []gateway.Change{{Token: 1}}}); !errors.Is(err, ErrShard) {
		t.Errorf("a record of another shard: %v", err)
	}
	c.publish(1)
	if got := c.entry(54).Checkpoint; got != nil || c.pub.ShardsComplete() {
		t.Errorf("checkpoint of a refused shard %v", got)
	}
	info, err := c.pub.shards.stream.Info(t.Context())
	if err != nil || info.State.Msgs != 4 || info.State.Consumers != 0 { // head, 3 shards
		t.Errorf("%+v, %v", info.State, err)
	}
	if err := c.pub.shards.stream.DeleteMsg(t.Context(), info.State.LastSeq); err == nil {
		t.Error("a message can be deleted")
	}
	if err := c.pub.shards.stream.Purge(t.Context()); err == nil {
		t.Error("the stream can be purged")
	}
}

// The head has what a box needs beside shards, and is there before anything that
// comes after what it says.
func TestHeadAndKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openCentre(t, dir, "")
	c.reopen(testPublisher(1, 2))
	head := func() *Head { return decodeHead(t, c.shard(subjectHead)) }
	if h := head(); h.At != (gateway.Position{Epoch: c.pub.Last().Epoch}) || h.Schedule != nil || h.Complete {
		t.Errorf("at the start: %v %d", h.At, h.ScheduleAt)
	}
	c.publish(3)
	c.must(&Entry{Time: time.Now().UnixMicro(), Schedule: testSchedule(5)})
	c.publish(1)
	if h := head(); h.ScheduleAt != 4 || h.Schedule == nil || h.At.Number != 4 {
		t.Errorf("after a schedule: %v %d", h.At, h.ScheduleAt)
	}
	if err := c.rotate(2); err != nil {
		t.Fatal(err)
	}
	c.publish(1)
	if h := head(); h.ScheduleAt != 4 || !h.Verify(testSecret(2).Public()) {
		t.Errorf("after a change of the key: %v %d", h.At, h.ScheduleAt)
	}
	if got := decode(t, c.shard(subjectOfKey(6))); got.NextKey != testSecret(2).Public() || !got.Verify(testKeys[0]) {
		t.Error("the announcement is not the entry")
	}
	// A minute of the feed's time later it is written again.
	c.must(&Entry{Time: c.pub.Last().Time + headEvery})
	c.publishShard(7)
	if h := head(); h.At.Number != 8 || h.ScheduleAt != 4 {
		t.Errorf("a minute later: %v %d", h.At, h.ScheduleAt)
	}
	// The head is lost, or is of another key: gathered from the feed again.
	other := signHead(t, 9, Head{At: c.pub.position(), Complete: true})
	c.overwrite(subjectHead, other)
	c.overwrite(subjectOfKey(6), []byte("lost"))
	c.reopen(testPublisher(2))
	if h := head(); h.ScheduleAt != 4 || h.Complete || decode(t, c.shard(subjectOfKey(6))).Number != 6 {
		t.Errorf("gathered again: %v %d", h.At, h.ScheduleAt)
	}
	c.overwrite(subjectHead, other)
	c.keep(3)
	if _, err := OpenPublisher(t.Context(), c.js, testPublisher(2)); err == nil || !strings.Contains(err.Error(), "under a new epoch") {
		t.Errorf("nothing to gather from: %v", err)
	}
}

// brittle fails whatever is published to the shards.
type brittle struct {
	jetstream.JetStream
	broken bool
}

func (b *brittle) Publish(ctx context.Context, subject string, data []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if b.broken && strings.HasPrefix(subject, SubjectShards) {
		return nil, nats.ErrConnectionClosed // which is not tried again
	}
	return b.JetStream.Publish(ctx, subject, data, opts...)
}

// A centre that is killed between an entry and what it means for the shards makes
// good for it; while it cannot, nothing else is published.
func TestDueIsStoredFirst(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.reopen(testPublisher(1, 2))
	c.publish(1)
	b := &brittle{JetStream: c.js, broken: true}
	c.pub.js = b
	c.must(&Entry{Time: time.Now().UnixMicro(), Schedule: testSchedule(5), NextKey: testSecret(2).Public()})
	if err := c.pub.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); err == nil || c.pub.Last().Number != 2 {
		t.Errorf("an entry went past: %v", err)
	}
	if err := c.pub.PublishShard(t.Context(), gateway.Shard{ID: 1}); err == nil {
		t.Error("a snapshot went past")
	}
	c.reopen(testPublisher(1, 2))
	h := decodeHead(t, c.shard(subjectHead))
	if h.ScheduleAt != 2 || !h.Verify(testSecret(2).Public()) || decode(t, c.shard(subjectOfKey(2))).Number != 2 {
		t.Errorf("%v %d", h.At, h.ScheduleAt)
	}
}

func TestShardsFenced(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(2)
	old := c.pub
	c.reopen(testPublisher())
	c.publish(1)
	c.publishShard(5)
	for range 2 {
		if err := old.PublishShard(t.Context(), gateway.Shard{ID: 5}); !errors.Is(err, ErrFenced) {
			t.Errorf("stale publisher: %v", err)
		}
	}
	if s, err := DecodeSnapshot(c.shard(subjectOfShard(5))); err != nil || s.Shard.At.Number != 3 {
		t.Errorf("the newer snapshot was overwritten: %v", err)
	}
	// Also where the new one has published no entry.
	old = c.pub
	c.reopen(testPublisher())
	if err := old.PublishShard(t.Context(), gateway.Shard{ID: 5}); !errors.Is(err, ErrFenced) {
		t.Errorf("stale publisher: %v", err)
	}
	if err := old.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); !errors.Is(err, ErrFenced) {
		t.Errorf("it publishes on: %v", err)
	}
	c.publishShard(6)
}

// A publisher that is opened while another one writes snapshots wins.
func TestShardsTakeover(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(2)
	for range 10 {
		old, writing, ended := c.pub, make(chan struct{}), make(chan error, 1)
		go func() {
			err := old.PublishShard(t.Context(), gateway.Shard{ID: 5})
			close(writing)
			for err == nil {
				err = old.PublishShard(t.Context(), gateway.Shard{ID: 5})
			}
			ended <- err
		}()
		<-writing
		c.reopen(testPublisher())
		c.publishShard(6)
		if err := <-ended; !errors.Is(err, ErrFenced) {
			t.Fatalf("stale publisher: %v", err)
		}
	}
}

// A publisher that has read the feed before another one stored an entry and a head puts
// no older head in its place: it is opened anew.
func TestTakeoverReadsTheFeedAgain(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]Entry{
		"a schedule": {Time: 2, Schedule: testSchedule(5)},
		"a key":      {Time: 2, NextKey: testSecret(2).Public()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openCentre(t, t.TempDir(), "")
			c.reopen(testPublisher(1, 2))
			c.must(&Entry{Time: 1})
			info, err := c.pub.stream.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.must(&e)
			late := &Publisher{js: c.js, stream: c.pub.stream, log: c.pub.log, signers: c.pub.signers, last: Entry{Epoch: c.pub.Last().Epoch}}
			if err := late.open(t.Context(), 1, &info.State); !errors.Is(err, ErrFenced) {
				t.Errorf("it goes on from what it has read: %v", err)
			}
			if h := decodeHead(t, c.shard(subjectHead)); h.At.Number != 2 {
				t.Errorf("the head is from entry %d", h.At.Number)
			}
			c.publishShard(5)
			c.reopen(testPublisher(1, 2))
			c.publishShard(5)
		})
	}
}

// Where the feed has lost the entry whose schedule the head has, what to do is said.
func TestHeadKnowsMoreThanTheFeed(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(2)
	at := c.pub.position()
	at.Number = 9
	c.overwrite(subjectHead, signHead(t, 1, Head{At: at, Schedule: testSchedule(1), ScheduleAt: 8}))
	if _, err := OpenPublisher(t.Context(), c.js, testPublisher()); err == nil || !strings.Contains(err.Error(), "entry 8") || !strings.Contains(err.Error(), "new epoch") {
		t.Errorf("%v", err)
	}
}

// A feed is gathered from in few questions: one an entry would take longer than a centre
// may to open.
func TestGatherAsksLittle(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(200)
	if err := c.js.DeleteStream(t.Context(), StreamShards); err != nil {
		t.Fatal(err)
	}
	before := c.js.Conn().Stats().OutMsgs
	c.reopen(testPublisher())
	if n := c.js.Conn().Stats().OutMsgs - before; n > 50 {
		t.Errorf("%d messages to the server for 200 entries", n)
	}
	c.publishShard(5)
}

func TestShardsLostAcknowledgement(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(1)
	l := &lossy{JetStream: c.js}
	c.pub.js = l
	for _, lose := range []*bool{&l.loseAck, &l.loseRequest} {
		*lose = true
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		// What was stored is found by looking; what was not is stored with the next.
		if err := c.pub.PublishShard(ctx, gateway.Shard{ID: 5}); (err == nil) != l.loseAck || errors.Is(err, ErrFenced) {
			t.Errorf("lost: %v", err)
		}
		cancel()
		*lose = false
		c.publishShard(6)
		c.publishShard(5)
		c.publish(1)
	}
}

// Entries expire once every shard has a snapshot, and not before; and a feed whose
// last entry has expired is not continued.
func TestFeedKeeps(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	maxAge := func() time.Duration {
		t.Helper()
		info, err := c.pub.stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.Config.MaxAge
	}
	if !c.pub.ShardsComplete() || maxAge() != 0 {
		t.Errorf("complete %v, keeps %v", c.pub.ShardsComplete(), maxAge())
	}
	limited := testPublisher(1, 2, 3)
	limited.MaxAge = time.Hour
	c.reopen(limited)
	if !c.pub.ShardsComplete() || maxAge() != time.Hour {
		t.Errorf("complete %v, keeps %v", c.pub.ShardsComplete(), maxAge())
	}
	if err := c.rotate(3); err != nil || c.pub.ShardsComplete() {
		t.Errorf("snapshots of a retired key count: %v", err)
	}
	limited.MaxAge = 0
	c.reopen(limited)
	if maxAge() != 0 || c.pub.ShardsComplete() {
		t.Errorf("keeps %v", maxAge())
	}

	d := openCentre(t, t.TempDir(), "")
	limited = testPublisher()
	limited.MaxAge = 200 * time.Millisecond
	d.publish(1)
	d.reopen(limited)
	d.publishShard(1)
	info, err := d.pub.stream.Info(t.Context())
	if err != nil || info.Config.MaxAge != 0 {
		t.Errorf("entries expire before there are shards: %v, %v", info.Config.MaxAge, err)
	}
	d.pub.shards.complete = true
	if err := d.pub.limitFeed(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the last entry expired", func() bool {
		info, err := d.pub.stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
	if _, err := OpenPublisher(t.Context(), d.js, limited); err == nil || !strings.Contains(err.Error(), "has expired") || !strings.Contains(err.Error(), "new epoch") {
		t.Errorf("%v", err)
	}
}

// A feed made anew has shards of its own.
func TestShardsOfAnotherEpoch(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(1)
	c.publishShard(5)
	if err := c.js.DeleteStream(t.Context(), StreamFeed); err != nil {
		t.Fatal(err)
	}
	c.reopen(testPublisher())
	if _, err := c.pub.shards.stream.GetLastMsgForSubject(t.Context(), subjectOfShard(5)); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("a snapshot of the old feed is there: %v", err)
	}
	if h := decodeHead(t, c.shard(subjectHead)); h.At.Epoch != c.pub.Last().Epoch {
		t.Error("the head is of another epoch")
	}
}
