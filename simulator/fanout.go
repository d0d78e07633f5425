package simulator

import "math"

// FanoutCosts is what streaming a feed costs the centre's server, measured.
type FanoutCosts struct {
	// EntriesPerSecond of the feed, each EntryBytes on the wire of every box.
	EntriesPerSecond float64 `json:"entries_per_second"`
	EntryBytes       float64 `json:"entry_bytes"`
	// BaseCores is the processor time in a second of the centre without a box,
	// LeafEntryUS what an entry costs for each box, microseconds.
	BaseCores   float64 `json:"base_cores"`
	LeafEntryUS float64 `json:"leaf_entry_us"`
	// BaseMB is the memory of the centre without a box, LeafMB that of each,
	// megabytes.
	BaseMB float64 `json:"base_mb"`
	LeafMB float64 `json:"leaf_mb"`
}

// Server is what a server has to give.
type Server struct {
	Cores    float64 `json:"cores"`
	EgressMB float64 `json:"egress_mb"` // megabytes a second
	MemoryMB float64 `json:"memory_mb"`
}

// FanoutPlan is what a number of stations comes to.
type FanoutPlan struct {
	Stations int `json:"stations"`
	// What all stations at one server need, each second and in memory.
	Messages float64 `json:"messages_per_second"`
	EgressMB float64 `json:"egress_mb"`
	Cores    float64 `json:"cores"`
	MemoryMB float64 `json:"memory_mb"`
	// First is what runs out first, cpu, egress or memory; Share how much of it
	// is used, 1 = all.
	First string  `json:"first"`
	Share float64 `json:"share"`
	// Relays is the layout that keeps every server at fanoutShare: how many leaf
	// hubs stand between, by layer, those next to the centre first; empty where the
	// centre's server is enough.
	Relays []int `json:"relays"`
}

// fanoutShare is how much of a server a plan uses, so that there is room to
// catch up after a cut.
const fanoutShare = 0.5

// maxLayers bounds a plan.
const maxLayers = 4

// PlanFanout extrapolates measured costs to a number of stations: all three grow
// with the number of leafs from what the centre needs by itself. A relay costs
// for each of its leafs what the centre's server does, and has nothing else to do;
// its own connection to the layer above is one leaf there. Where a server cannot
// take two leafs Relays is nil: no layout helps.
func PlanFanout(c FanoutCosts, s Server, stations int) FanoutPlan {
	n := float64(stations)
	p := FanoutPlan{
		Stations: stations,
		Messages: n * c.EntriesPerSecond,
		EgressMB: n * c.EntriesPerSecond * c.EntryBytes / 1e6,
		Cores:    c.BaseCores + n*c.EntriesPerSecond*c.LeafEntryUS/1e6,
		MemoryMB: c.BaseMB + n*c.LeafMB,
		Relays:   []int{},
	}
	for _, r := range []struct {
		name string
		used float64
	}{{"cpu", p.Cores / s.Cores}, {"egress", p.EgressMB / s.EgressMB}, {"memory", p.MemoryMB / s.MemoryMB}} {
		if r.used > p.Share {
			p.First, p.Share = r.name, r.used
		}
	}
	relay := c
	relay.BaseCores, relay.BaseMB = 0, 0
	atCentre, atRelay := leafsOf(c, s), leafsOf(relay, s)
	for leafs := stations; leafs > atCentre; {
		if atRelay < 2 || len(p.Relays) == maxLayers {
			p.Relays = nil
			break
		}
		leafs = (leafs + atRelay - 1) / atRelay
		p.Relays = append([]int{leafs}, p.Relays...)
	}
	return p
}

// leafsOf returns how many leafs a server takes within fanoutShare.
func leafsOf(c FanoutCosts, s Server) int {
	most := math.Inf(1)
	for _, r := range []struct{ has, base, leaf float64 }{
		{s.Cores, c.BaseCores, c.EntriesPerSecond * c.LeafEntryUS / 1e6},
		{s.EgressMB, 0, c.EntriesPerSecond * c.EntryBytes / 1e6},
		{s.MemoryMB, c.BaseMB, c.LeafMB},
	} {
		if r.leaf > 0 {
			most = min(most, (fanoutShare*r.has-r.base)/r.leaf)
		}
	}
	return int(min(max(most, 0), math.MaxInt32))
}
