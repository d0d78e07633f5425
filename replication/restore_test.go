package replication

import (
	"os"
	"testing"
	"time"

	"gateline/gateway"
)

// A centre that was restored from a backup keeps its epoch, has lost the entries
// after the backup, and soon grows past the box with others. The box must not
// follow: it would hold what was lost and lack what came instead.
func TestRestoredFeedGrowsPast(t *testing.T) {
	dir, backup := t.TempDir(), t.TempDir()
	c := openCentre(t, dir, "127.0.0.1:0")
	addr := c.hub.LeafAddr()
	store, log := newMemory(), &lines{}
	box, _ := startBox(t, c.url(), store, log, nil)
	c.publish(20)
	same(t, c, store)
	c.close()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	lost := openCentre(t, dir, addr)
	publish := func(c *centre, first gateway.Token, n int) {
		t.Helper()
		for i := range n {
			e := Entry{Time: time.Now().UnixMicro(), Changes: []gateway.Change{{Token: first + gateway.Token(i), Record: gateway.Record{Anchor: 7}}}}
			if err := c.pub.Publish(t.Context(), &e); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(lost, 1000, 10)
	until(t, "the box to be at 30", func() bool { return store.at() == 30 })
	lost.close()
	until(t, "the link to be down", func() bool { return !box.Connected() })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	restored := openCentre(t, dir, addr)
	until(t, "the box to report it", func() bool { return log.count(ErrWentBack.Error()) > 0 })
	refused := box.Stats().Refused
	publish(restored, 5000, 15) // to 35, past the box
	until(t, "the box to ask and refuse again", func() bool { return box.Stats().Refused >= refused+2 })
	publish(restored, 6000, 5)
	until(t, "the box to ask and refuse again", func() bool { return box.Stats().Refused >= refused+4 })
	if store.at() != 30 {
		t.Errorf("the box is at %d: it follows another history than its own", store.at())
	}
}
