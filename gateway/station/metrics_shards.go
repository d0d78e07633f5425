package station

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gateline/replication"
)

var (
	descShards     = prometheus.NewDesc("gateline_shards_loading", "Shards of the load under way by state, missing while there is none.", []string{"state"}, nil)
	descLoaded     = prometheus.NewDesc("gateline_shards_loaded_bytes_total", "Bytes of all snapshots loaded.", nil, nil)
	descReloads    = prometheus.NewDesc("gateline_shards_reloads_total", "Loads of all shards into a store that had data.", nil, nil)
	descVerified   = prometheus.NewDesc("gateline_shards_verified_total", "Checkpoints of the centre by what the store said to them.", []string{"result"}, nil)
	descDiffer     = prometheus.NewDesc("gateline_shards_different", "Shards that differed from the centre's when they were last compared, and could not be mended.", nil, nil)
	descRepairs    = prometheus.NewDesc("gateline_shards_repaired_total", "Shards mended by loading them again.", nil, nil)
	descShardRound = prometheus.NewDesc("gateline_shards_round_timestamp_seconds", "When all shards had agreed with the centre since the round before, 0 = not yet.", nil, nil)
)

func describeShards(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descShards, descLoaded, descReloads, descVerified, descDiffer, descRepairs, descShardRound} {
		ch <- d
	}
}

// collectShards reports how the copy is loaded, proven and mended.
func collectShards(to sink, s replication.Stats) {
	if s.Loading {
		to.gauge(descShards, float64(s.ShardsLoaded), "loaded")
		to.gauge(descShards, float64(s.ShardsToLoad-min(s.ShardsLoaded, s.ShardsToLoad)), "missing")
	}
	to.counter(descLoaded, s.LoadedBytes)
	to.counter(descReloads, s.Reloads)
	to.counter(descVerified, s.Verified, "equal")
	to.counter(descVerified, s.Mismatches, "different")
	to.gauge(descDiffer, float64(s.Differ))
	to.counter(descRepairs, s.Repairs)
	round := 0.0
	if !s.LastRound.IsZero() {
		round = float64(s.LastRound.UnixMilli()) / 1e3
	}
	to.gauge(descShardRound, round)
}

// copyText says in both languages how far the box's copy is proven; well is
// false where it differed from the centre's or is being loaded.
func copyText(s replication.Stats, now time.Time) (text string, well bool) {
	switch {
	case s.Loading:
		return fmt.Sprintf("正在加载 loading %d / %d", s.ShardsLoaded, s.ShardsToLoad), false
	case s.Differ > 0:
		return fmt.Sprintf("%d 处与中心不符 shards differ from the centre's", s.Differ), false
	case !s.LastRound.IsZero():
		return "全部核对一致 all proven, " + now.Sub(s.LastRound).Round(time.Minute).String() + " ago", true
	}
	return fmt.Sprintf("已核对 %d 处 checks passed", s.Verified), true
}
