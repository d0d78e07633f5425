package central

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/logtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(powerDir); dir != "" {
		fmt.Println(powerChild(dir))
		os.Exit(3)
	}
	goleak.VerifyTestMain(m)
}

func testKey() gateway.TokenKey {
	var k gateway.TokenKey
	for i := range k {
		k[i] = byte(i + 1)
	}
	return k
}

// card returns the text form of a T-Union card, of which a person may have one;
// account that of a ride code, of which there may be several.
func card(i int) string    { return fmt.Sprintf("tunion:3104770%012d", i) }
func account(i int) string { return fmt.Sprintf("ride:1001%012d", i) }

func testDoor() *door { return newDoor(testKey(), rules.DefaultRules(), time.Now) }

func tokenOf(t *testing.T, text string) gateway.Token {
	t.Helper()
	card, refusal := testDoor().card(text)
	if refusal != nil {
		t.Fatalf("token: %v", refusal)
	}
	return card.Token
}

func testConfig(dir string, log *logtest.Buffer) Config {
	return Config{Dir: dir, TokenKey: testKey(), FeedKeys: []gateway.FeedSecret{{1}, {2}}, Log: log.Logger(), Heartbeat: 50 * time.Millisecond}
}

// running is a centre whose Run is going.
type running struct {
	*Central
	*Client
	t      testing.TB
	cancel context.CancelFunc
	ended  chan error
	once   sync.Once
}

func start(t testing.TB, cfg Config) *running {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, c)
}

func run(t testing.TB, c *Central) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Central: c, t: t, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- c.Run(ctx) }()
	conn, err := c.Connect()
	if err != nil {
		t.Fatal(err)
	}
	r.Client = NewClient(conn)
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// stop ends Run, closes the centre and returns what Run returned.
func (r *running) stop() (err error) {
	r.once.Do(func() {
		r.cancel()
		err = <-r.ended
		r.Client.conn.Close()
		if closeErr := r.Central.Close(); closeErr != nil {
			r.t.Error(closeErr)
		}
	})
	return err
}

func (r *running) held() map[gateway.Token]gateway.Record {
	r.t.Helper()
	all := map[gateway.Token]gateway.Record{}
	err := r.Records(func(t gateway.Token, rec gateway.Record) error {
		all[t] = rec
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// until polls for a condition that others bring about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
		<-tick.C
	}
}

// leaks looks in data for each secret, as text and as the bytes it stands for.
func leaks(t *testing.T, where string, data []byte, secrets []string) {
	t.Helper()
	for i, s := range secrets {
		if bytes.Contains(data, []byte(s)) {
			t.Errorf("%s: secret %d stands in it", where, i)
		}
		if raw, err := hex.DecodeString(s); err == nil && len(raw) > 4 && bytes.Contains(data, raw) {
			t.Errorf("%s: secret %d stands in it in binary", where, i)
		}
	}
}

func numberIn(credential string) string {
	_, number, _ := strings.Cut(credential, ":")
	return number
}

func streamsDir(dir string) string { return filepath.Join(dir, "streams") }
