package station

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateline/central"
	"gateline/central/fleet"
	"gateline/gateway"
	"gateline/internal/logtest"
)

// wholeRebuild lets TestBoxFollowsRebuild wait until the centre has written all shards,
// a minute and a half.
var wholeRebuild = flag.Bool("rebuild", false, "wait in TestBoxFollowsRebuild until the box has changed over")

// A centre that has lost all its streams is given its ledger again from its copy. A box
// that followed it keeps what it has, waits for the shards of the new epoch, and goes
// on there.
func TestBoxFollowsRebuild(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "central")
	road := newRoad(t)
	var log logtest.Buffer
	b := startBox(t, testConfig(t, road.url(), newWire(t)), Options{Log: log.Logger(), ReportEvery: 25 * time.Millisecond})
	var last central.Config
	if !t.Run("before", func(t *testing.T) {
		c, ops := startCentre(t, func(cfg *central.Config) { cfg.Dir = dir; last = *cfg })
		road.lead(c.LeafAddr())
		done(t)(ops.SetPolicy(t.Context(), gateway.DefaultPolicy(time.Now().Add(-time.Hour))))
		b.reaches(done(t)(ops.Bind(t.Context(), "tunion:3104770000000000001", "ann")))
		wantState(t, ops, "xizhimen", fleet.OK)
	}) {
		return
	}
	at := b.Position()
	if err := os.RemoveAll(filepath.Join(dir, "streams")); err != nil {
		t.Fatal(err)
	}
	if plan, err := central.Rebuild(t.Context(), central.RebuildConfig{Config: last}); err != nil || plan.Copy != 2 {
		t.Fatalf("%+v, %v", plan, err)
	}
	c, ops := startCentre(t, func(cfg *central.Config) { cfg.Dir = dir })
	road.lead(c.LeafAddr())
	number := done(t)(ops.Bind(t.Context(), "tunion:3104770000000000002", "bob"))
	until(t, "the box waits for the shards", func() bool { return strings.Contains(log.String(), "no snapshot of every shard yet") })
	if now := b.Position(); now.Epoch != at.Epoch {
		t.Error("it has changed over before it had all shards")
	}
	if !*wholeRebuild {
		return
	}
	deadline := time.Now().Add(5 * time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for b.Position().Epoch == at.Epoch {
		if time.Now().After(deadline) {
			t.Fatalf("it has not changed over; log:\n%s", log.String())
		}
		<-tick.C
	}
	b.reaches(number)
	wantState(t, ops, "xizhimen", fleet.OK)
}
