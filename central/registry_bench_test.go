package central

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"gateline/central/rules"
	"gateline/internal/logtest"
)

// openForBench returns a centre with its default heartbeat.
func openForBench(b *testing.B) *running {
	cfg := testConfig(b.TempDir(), &logtest.Buffer{})
	cfg.Heartbeat = 0
	cfg.ClientListen = "127.0.0.1:0"
	return start(b, cfg)
}

// BenchmarkUpgrades is upgrades of different persons by 64 callers at once, each
// of which waits for its answer; every one is synced to the disk.
func BenchmarkUpgrades(b *testing.B) {
	upgrades(b, dial(b, openForBench(b), rules.ChannelApp))
}

// BenchmarkUpgradesOnServers is the same with ledger and feed on three servers, each
// of which syncs every message.
func BenchmarkUpgradesOnServers(b *testing.B) {
	_, cfg, auth := onServers(b, &logtest.Buffer{})
	cfg.Heartbeat = 0
	c := start(b, cfg)
	conn, err := nats.Connect(strings.Join(cfg.Servers.URLs, ","), auth...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	c.held() // it is up
	upgrades(b, NewChannel(conn, rules.ChannelOps))
}

func upgrades(b *testing.B, app *Channel) {
	const callers = 64
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if _, err := app.Upgrade(b.Context(), upgradeOf(fmt.Sprint("r", i), card(int(i)), ByID(fmt.Sprint("p", i)))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "upgrades/s")
}

// BenchmarkHealthReports is batches of 500 reports by four callers, each about a
// person of a large city who has one card.
func BenchmarkHealthReports(b *testing.B) {
	c := openForBench(b)
	const persons = 1 << 17
	for at := 0; at < persons; at += 2048 {
		rows := make([]Row, 2048)
		for i := range rows {
			rows[i] = Row{Credential: card(at + i), Person: fmt.Sprint("p", at+i)}
		}
		if _, err := c.Import(b.Context(), rows); err != nil {
			b.Fatal(err)
		}
	}
	source := dial(b, c, rules.ChannelHealthSource)
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range 4 {
		all.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				q := HealthRequest{ID: fmt.Sprint("b", n), Reports: make([]HealthReport, rules.MaxReports)}
				for i := range q.Reports {
					q.Reports[i] = HealthReport{Who: ByID(fmt.Sprint("p", (n*rules.MaxReports+int64(i))*7919%persons)), Revision: uint64(n), Class: "normal", Anchor: fmt.Sprintf("2022-06-%02d", 1+n%28)}
				}
				if r, err := source.ReportHealth(b.Context(), q); err != nil || r.Rejected > 0 {
					b.Error(r, err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)*rules.MaxReports/b.Elapsed().Seconds(), "reports/s")
}
