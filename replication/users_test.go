package replication

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
)

// What a client of the hub publishes by mistake reaches neither the feed nor
// anything of JetStream: a stray message there could not be deleted.
func TestClientsKeepToTheirSubjects(t *testing.T) {
	hub, err := OpenHub(HubConfig{Dir: t.TempDir(), ClientListen: "127.0.0.1:0", Log: (&lines{}).logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hub.Close() }()
	own, err := hub.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	js, err := jetstream.New(own)
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := OpenPublisher(t.Context(), js, testPublisher())
	if err != nil {
		t.Fatal(err)
	}
	if err := publisher.Publish(t.Context(), &Entry{Time: 1, Changes: []gateway.Change{{Token: 1}}}); err != nil {
		t.Fatal(err)
	}
	for name, stranger := range map[string]nats.Option{
		"the centre without its secret": nats.UserInfo(userCentre, "guess"), "a box": nats.UserInfo(userBox, ""), "somebody": nats.UserInfo("x", "y"), "a token": nats.Token("x"),
	} {
		if nc, err := nats.Connect(hub.ClientAddr(), stranger); err == nil {
			nc.Close()
			t.Errorf("%s is let in as a client", name)
		}
	}
	for name, options := range map[string][]nats.Option{"unnamed": nil, "as ops": {nats.UserInfo(userOps, "")}} {
		refused := make(chan error, 16)
		options = append(options, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case refused <- err:
			default:
			}
		}))
		client, err := nats.Connect(hub.ClientAddr(), options...)
		if err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{SubjectFeed, SubjectLive, "gateline.ledger", "$JS.API.STREAM.DELETE." + StreamFeed, "$JS.API.STREAM.PURGE." + StreamFeed} {
			if err := client.Publish(subject, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if err := client.Flush(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-refused:
			case <-time.After(10 * time.Second):
				t.Errorf("%s: publishing to %s is not refused", name, subject)
			}
		}
		client.Close()
	}
	if err := publisher.Publish(t.Context(), &Entry{Time: 2}); err != nil || publisher.Last().Number != 2 {
		t.Errorf("the feed is at %d, %v", publisher.Last().Number, err)
	}
}
