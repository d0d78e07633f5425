package simulator

import (
	"slices"
	"testing"
)

// What stations come to, and the relays that keep every server at half.
func TestPlanFanout(t *testing.T) {
	costs := FanoutCosts{EntriesPerSecond: 20, EntryBytes: 1000, BaseCores: 0.2, LeafEntryUS: 50, BaseMB: 100, LeafMB: 0.5}
	big := Server{Cores: 4, EgressMB: 100, MemoryMB: 8000}
	for _, c := range []struct {
		name     string
		costs    FanoutCosts
		server   Server
		stations int
		first    string
		share    float64
		relays   []int
	}{
		// 0.2 + 500 × 20 × 50 µs = 0.7 of 4 cores; 10 of 100 MB/s; 350 of 8000 MB.
		{"one server is enough", costs, big, 500, "cpu", 0.175, []int{}},
		// Half of 4 cores less 0.2 are 1800 leafs.
		{"just enough", costs, big, 1800, "cpu", 0.5, []int{}},
		// A relay takes half of 4 cores at 1 mcore: 2000 leafs.
		{"one more", costs, big, 1801, "cpu", 0.50025, []int{1}},
		{"a layer", costs, big, 5000, "cpu", 1.3, []int{3}},
		// 0.02 MB/s each: half of 2 MB/s is 50 leafs. 5000 → 100 → 2.
		{"egress, two layers", costs, Server{Cores: 4, EgressMB: 2, MemoryMB: 8000}, 5000, "egress", 50, []int{2, 100}},
		// (60 − 50) of 0.5 are 20 at the centre, 120 at a relay. 5000 → 42 → 1.
		{"memory", FanoutCosts{EntriesPerSecond: 20, EntryBytes: 1000, LeafEntryUS: 50, BaseMB: 50, LeafMB: 0.5}, Server{Cores: 100, EgressMB: 1000, MemoryMB: 120}, 5000, "memory", 2550. / 120, []int{1, 42}},
		{"no layout helps", costs, Server{Cores: 4, EgressMB: 0.05, MemoryMB: 8000}, 550, "egress", 220, nil},
	} {
		p := PlanFanout(c.costs, c.server, c.stations)
		if p.Stations != c.stations || p.First != c.first || p.Share < c.share*0.9999 || p.Share > c.share*1.0001 || !slices.Equal(p.Relays, c.relays) || (p.Relays == nil) != (c.relays == nil) {
			t.Errorf("%s: %+v, want %s first at %v, relays %v", c.name, p, c.first, c.share, c.relays)
		}
		// No server of the layout has more than half, whoever computes it.
		leafs := c.stations
		for _, n := range slices.Backward(p.Relays) {
			relay := c.costs
			relay.BaseCores, relay.BaseMB = 0, 0
			if q := PlanFanout(relay, c.server, (leafs+n-1)/n); q.Share > fanoutShare*1.0001 {
				t.Errorf("%s: each of %d relays has %v", c.name, n, q.Share)
			}
			leafs = n
		}
		if q := PlanFanout(c.costs, c.server, leafs); p.Relays != nil && q.Share > fanoutShare*1.0001 {
			t.Errorf("%s: the centre with %d leafs has %v", c.name, leafs, q.Share)
		}
	}
	p := PlanFanout(costs, big, 550)
	if p.Messages != 11000 || p.EgressMB != 11 || p.Cores != 0.75 || p.MemoryMB != 375 {
		t.Errorf("%+v", p)
	}
}
