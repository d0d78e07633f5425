package replication

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
)

func TestPublisherResumes(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	first := c.pub.Last()
	if first.Epoch == 0 || first.Number != 0 {
		t.Errorf("empty feed: %+v", first)
	}
	c.publish(3)
	last := c.pub.Last()
	if last.Epoch != first.Epoch || last.Number != 3 || last.Source != 3 || last.Changes != nil {
		t.Errorf("after 3 entries: %+v", last)
	}
	again, err := OpenPublisher(t.Context(), c.js, testPublisher())
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Last(); got.Epoch != last.Epoch || got.Number != last.Number || got.Time != last.Time || got.Source != last.Source {
		t.Errorf("reopened at %+v, want %+v", got, last)
	}
}

func TestPublisherFenced(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(2)
	other, err := OpenPublisher(t.Context(), c.js, testPublisher())
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it stays fenced
		if err := c.pub.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); !errors.Is(err, ErrFenced) {
			t.Errorf("stale publisher: %v", err)
		}
	}
	if err := other.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); err != nil {
		t.Error(err)
	}
	if info, err := c.pub.stream.Info(t.Context()); err != nil || info.State.LastSeq != 4 {
		t.Errorf("%v entries, want 4 (%v)", info.State.LastSeq, err)
	}
}

func TestPublisherTimeGrows(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	log := &lines{}
	c.pub.log = log.logger()
	times := []int64{5_000_000, 5_000_000, 4_999_000, 1_000_000, 9_000_000}
	want := []int64{5_000_000, 5_000_001, 5_000_002, 5_000_003, 9_000_000}
	for i := range times {
		e := Entry{Time: times[i]}
		if err := c.pub.Publish(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Time != want[i] || e.Number != uint64(i+1) || e.Epoch == 0 {
			t.Errorf("entry %+v, want time %d, number %d", e, want[i], i+1)
		}
	}
	if n := log.count("time synchronisation"); n != 1 {
		t.Errorf("%d reports of a clock that stepped back 4 s, want 1:\n%s", n, log)
	}
}

func TestPublisherRefusesBadEntry(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	for _, e := range []Entry{{}, {Time: 1, Changes: []gateway.Change{{Token: 1}, {Token: 1}}}} {
		if err := c.pub.Publish(t.Context(), &e); !errors.Is(err, ErrEntry) {
			t.Errorf("%v", err)
		}
	}
	c.publish(1)
}

// lossy loses what its fields say on the way to the stream and back.
type lossy struct {
	jetstream.JetStream
	loseRequest, loseAck bool
	times                int // less one; 0 = always
}

func (l *lossy) Publish(ctx context.Context, subject string, b []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	lose := l.times != 1
	if l.times > 1 {
		l.times--
	}
	if l.loseRequest && lose {
		return nil, nats.ErrTimeout
	}
	ack, err := l.JetStream.Publish(ctx, subject, b, opts...)
	if l.loseAck && lose && err == nil {
		return nil, nats.ErrTimeout
	}
	return ack, err
}

func TestPublisherLostAcknowledgement(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(1)
	l := &lossy{JetStream: c.js}
	c.pub.js = l

	l.loseAck = true // stored: found by looking
	c.publish(2)
	l.loseAck, l.loseRequest = false, true // not stored: an error, and stored with the next
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if err := c.pub.Publish(short(), &Entry{Time: time.Now().UnixMicro(), Source: 900}); !errors.Is(err, nats.ErrTimeout) || errors.Is(err, ErrFenced) {
		t.Errorf("lost request: %v", err)
	}
	if last := c.pub.Last().Number; last != 3 {
		t.Errorf("last entry %d, want 3", last)
	}
	l.loseRequest = false
	e := Entry{Time: time.Now().UnixMicro(), Source: 901}
	if err := c.pub.Publish(t.Context(), &e); err != nil || e.Number != 5 {
		t.Errorf("entry %d, %v; want 5 after the one in doubt", e.Number, err)
	}

	// In doubt, and then another writer is there first.
	l.loseRequest = true
	if err := c.pub.Publish(short(), &Entry{Time: time.Now().UnixMicro()}); err == nil {
		t.Error("lost request: no error")
	}
	l.loseRequest = false
	other, err := OpenPublisher(t.Context(), c.js, testPublisher())
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro(), Source: 77}); err != nil {
		t.Fatal(err)
	}
	if err := c.pub.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); !errors.Is(err, ErrFenced) {
		t.Errorf("another writer: %v", err)
	}
	for want, number := range map[uint64]uint64{900: 4, 901: 5, 77: 6} {
		msg, err := other.stream.GetMsg(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := DecodeEntry(msg.Data); err != nil || e.Source != want {
			t.Errorf("entry %d covers %d, want %d (%v)", number, e.Source, want, err)
		}
	}
}

// A stream that is shorter than what was acknowledged is not the one we wrote.
func TestPublisherStreamMadeAnew(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(3)
	if err := c.js.DeleteStream(t.Context(), StreamFeed); err != nil {
		t.Fatal(err)
	}
	again, err := OpenPublisher(t.Context(), c.js, testPublisher())
	if err != nil {
		t.Fatal(err)
	}
	if again.Last().Epoch == c.pub.Last().Epoch {
		t.Error("a new stream has the old epoch")
	}
	if err := c.pub.Publish(t.Context(), &Entry{Time: time.Now().UnixMicro()}); !errors.Is(err, ErrFenced) {
		t.Errorf("publisher of the old stream: %v", err)
	}
}

// A publisher whose first words are not acknowledged, stored or not, is opened all
// the same.
func TestPublisherOpenedWithLostAcknowledgements(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(2)
	for _, l := range []*lossy{{JetStream: c.js, loseAck: true}, {JetStream: c.js, loseRequest: true}} {
		l.times = 2
		pub, err := OpenPublisher(t.Context(), l, testPublisher())
		if err != nil {
			t.Fatal(err)
		}
		old := c.pub
		c.pub = pub
		c.publish(1)
		c.publishShard(7)
		if err := old.PublishShard(t.Context(), gateway.Shard{ID: 5}); !errors.Is(err, ErrFenced) {
			t.Errorf("stale publisher: %v", err)
		}
	}
	never := &lossy{JetStream: c.js, loseRequest: true}
	if _, err := OpenPublisher(t.Context(), never, testPublisher()); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("%v", err)
	}
}

func TestPublisherRefusesForeignStream(t *testing.T) {
	t.Parallel()
	hub, err := OpenHub(HubConfig{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hub.Close() }()
	nc, err := hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := jetstream.StreamConfig{Name: StreamFeed, Subjects: []string{"other"}, Storage: jetstream.FileStorage}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	_, err = OpenPublisher(t.Context(), js, testPublisher())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"FEED", "no epoch", "subject", "direct get", "republished", "use another"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q not in: %v", part, err)
		}
	}
}

func TestPublisherRefusesForeignEntry(t *testing.T) {
	t.Parallel()
	c := openCentre(t, t.TempDir(), "")
	c.publish(1)
	if _, err := c.js.Publish(t.Context(), SubjectFeed, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPublisher(t.Context(), c.js, testPublisher()); !errors.Is(err, ErrEntry) {
		t.Errorf("%v", err)
	}
}
