package central

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gateline/central/fleet"
	"gateline/replication"
)

// maxScrapes bounds how many ask for the metrics at once.
const maxScrapes = 4

var (
	descStations = prometheus.NewDesc("gateline_fleet_stations", "Stations by state.", []string{"state"}, nil)
	descState    = prometheus.NewDesc("gateline_fleet_station_state", "Always 1; the label tells the state that a station is in.", []string{"station", "state"}, nil)
	descAge      = prometheus.NewDesc("gateline_fleet_station_age_seconds", "Age of the data that a station last reported of; missing where it has none.", []string{"station"}, nil)
	descReported = prometheus.NewDesc("gateline_fleet_station_reported_timestamp_seconds", "When a station last reported.", []string{"station"}, nil)
	descServing  = prometheus.NewDesc("gateline_fleet_station_gates_serving", "Gates of a station in service, as it last reported.", []string{"station"}, nil)
	descGates    = prometheus.NewDesc("gateline_fleet_station_gates", "Gates of a station.", []string{"station"}, nil)
	descIgnored  = prometheus.NewDesc("gateline_fleet_reports_ignored_total", "Reports passed over, by why.", []string{"why"}, nil)
	descBehind   = prometheus.NewDesc("gateline_central_ledger_copy_behind_messages", "Messages of the ledger that its copy on the centre's own disk lacks.", nil, nil)
	descReceipts = prometheus.NewDesc("gateline_fleet_receipts_missing", "Stations that have not said that they have carried out the centre's last order to erase every record; 0 without one.", nil, nil)
	descFeed     = prometheus.NewDesc("gateline_central_feed_number", "Number of the last feed entry.", nil, nil)
)

// fleetCollector reports the stations at scrape time. Five series a station, and
// replication.MaxStations of those at most, are a small load for Prometheus
// (25,000 for 5,000 stations), and an alarm names its station.
type fleetCollector struct {
	w *fleetWatch
	// behind tells how many messages of the ledger its copy lacks.
	behind func() uint64
}

// Describe implements prometheus.Collector.
func (c fleetCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descStations, descState, descAge, descReported, descServing, descGates, descIgnored, descReceipts, descFeed, descBehind} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c fleetCollector) Collect(ch chan<- prometheus.Metric) {
	now := c.w.now()
	c.w.mu.Lock()
	rows, _ := c.w.fleet.Rows("", replication.MaxStations, now)
	c.w.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counts := make(map[fleet.State]int)
	for _, r := range rows {
		counts[r.State]++
		gauge(descState, 1, r.Station, r.State.String())
		if r.AgeS != nil {
			gauge(descAge, *r.AgeS, r.Station)
		}
		gauge(descReported, float64(now.UnixMilli())/1e3-r.ReportedS, r.Station)
		gauge(descServing, float64(r.Report.Gates.Serving), r.Station)
		gauge(descGates, float64(r.Report.Gates.Total()), r.Station)
	}
	for _, s := range fleet.States() {
		gauge(descStations, float64(counts[s]), s.String())
	}
	missing := 0
	if order := c.w.order(); order != nil {
		for _, r := range rows {
			if fleet.ReceiptOf(r.Report, order) == fleet.NoReceipt {
				missing++
			}
		}
	}
	gauge(descReceipts, float64(missing))
	for why, n := range c.w.ignored {
		ch <- prometheus.MustNewConstMetric(descIgnored, prometheus.CounterValue, float64(n.Load()), why)
	}
	gauge(descFeed, float64(c.w.entry().Number))
	gauge(descBehind, float64(c.behind()))
}

// listenStatus opens the port of the centre's metrics.
func listenStatus(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w: free the address or set [status] listen to another", err)
	}
	return l, nil
}

// metricsHandler serves GET /metrics. It tells of stations, never of riders.
func metricsHandler(w *fleetWatch, behind func() uint64) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(fleetCollector{w, behind}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	return mux
}
