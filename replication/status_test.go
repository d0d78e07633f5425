package replication

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"
)

// heard is what a centre has heard: the last report of each station.
type heard struct {
	mu   sync.Mutex
	last map[string]*Report
}

func (h *heard) take(m StatusMessage) {
	r, err := DecodeReport(m.Data)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && r.Station == m.Station {
		h.last[m.Station] = r
	}
}

// uptime returns that of the last report of a station, -1 without one.
func (h *heard) uptime(station string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.last[station]; r != nil {
		return r.UptimeS
	}
	return -1
}

func openStatus(t *testing.T, c *centre) *Status {
	t.Helper()
	s, err := OpenStatus(t.Context(), c.js, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// follow follows the reports until the test's end, or until it is stopped.
func follow(t *testing.T, s *Status) (h *heard, stop func()) {
	t.Helper()
	h = &heard{last: map[string]*Report{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Follow(ctx, h.take) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return h, stop
}

func openReporter(t *testing.T, b *Box) *Reporter {
	t.Helper()
	r, err := b.OpenReporter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func hoursOf(t *testing.T, station string, n uint64) []byte {
	t.Helper()
	h := Hours{Station: station, Hours: []Hour{{Start: time.Unix(3600, 0).UTC(), Answers: map[string]uint64{"R00": n}}}}
	data, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wantHours checks the one hour that the centre has of a station.
func wantHours(t *testing.T, s *Status, station string, n uint64) {
	t.Helper()
	h, err := s.Hours(t.Context(), station)
	if err != nil || h == nil || len(h.Hours) != 1 || h.Hours[0].Answers["R00"] != n {
		t.Errorf("the hours of %s: %v %+v, want %d", station, err, h, n)
	}
}

// Two boxes report; one is cut off, and with the link its latest state and sums
// are there; the centre is started again and knows both.
func TestReports(t *testing.T) {
	dir := t.TempDir()
	c := openCentre(t, dir, "127.0.0.1:0")
	status := openStatus(t, c)
	h, stop := follow(t, status)
	road := newProxy(t, c.hub.LeafAddr())
	a, _ := startBox(t, road.url(), newMemory(), new(lines), nil)
	b, _ := startBox(t, c.url(), newMemory(), new(lines), func(cfg *BoxConfig) { cfg.Station = "s-2" })
	ra, rb := openReporter(t, a), openReporter(t, b)

	send := func(r *Reporter, station string, uptime int64) {
		t.Helper()
		report := testReport(station)
		report.UptimeS = uptime
		if err := r.Report(report); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "both reports are there", func() bool {
		send(ra, "s-0407", 1)
		send(rb, "s-2", 1)
		return h.uptime("s-0407") == 1 && h.uptime("s-2") == 1
	})
	for range 2 { // once more changes nothing
		if err := ra.Hours(t.Context(), hoursOf(t, "s-0407", 5)); err != nil {
			t.Fatal(err)
		}
	}
	wantHours(t, status, "s-0407", 5)
	if h, err := status.Hours(t.Context(), "s-2"); h != nil || err != nil {
		t.Errorf("hours that nobody sent: %v %v", h, err)
	}

	road.setCut(true)
	until(t, "the link is down", func() bool { return !a.Connected() })
	send(ra, "s-0407", 2) // is lost
	if err := ra.Hours(t.Context(), hoursOf(t, "s-0407", 6)); err == nil {
		t.Error("the centre takes hours over a link that is cut")
	}
	wantHours(t, status, "s-0407", 5)
	road.setCut(false)
	until(t, "the hours arrive", func() bool { return ra.Hours(t.Context(), hoursOf(t, "s-0407", 7)) == nil })
	wantHours(t, status, "s-0407", 7)
	send(ra, "s-0407", 3)
	until(t, "the latest state arrives", func() bool { return h.uptime("s-0407") == 3 })

	info, err := status.stream.Info(t.Context())
	if err != nil || info.State.Msgs != 3 {
		t.Errorf("the stream holds %+v, %v; want a report of each box and one box's hours", info.State, err)
	}
	stop()
	road.setCut(true)
	c.js.Conn().Close()
	if err := c.hub.Close(); err != nil {
		t.Fatal(err)
	}
	again := openCentre(t, dir, "127.0.0.1:0")
	status = openStatus(t, again)
	h, _ = follow(t, status)
	until(t, "a new centre knows both", func() bool { return h.uptime("s-0407") == 3 && h.uptime("s-2") == 1 })
	wantHours(t, status, "s-0407", 7)
	if err := status.Forget(t.Context(), "s-0407"); err != nil {
		t.Fatal(err)
	}
	if h, err := status.Hours(t.Context(), "s-0407"); h != nil || err != nil {
		t.Errorf("a station that was forgotten has hours %v, %v", h, err)
	}
}

// With a station's key a box reports under that station's name, and does nothing
// else to what the centre has of reports.
func TestBoxMayOnlyReport(t *testing.T) {
	here := newCity(t)
	link, key := here.station("s-0407")
	_, other := here.station("s-2")
	c := openSafeCentre(t, &HubLink{TLS: here.server(), Stations: []StationKey{key, other}})
	openStatus(t, c)
	box, _ := startBox(t, c.url(), newMemory(), new(lines), func(cfg *BoxConfig) { cfg.Link = link })
	r := openReporter(t, box)
	all, err := c.js.Conn().SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	others, err := r.nc.SubscribeSync(SubjectStatus + ">") // nor may it hear of others
	if err != nil {
		t.Fatal(err)
	}
	// Once its own report is taken, whatever was sent before would have been too.
	until(t, "the box can report", func() bool { return r.Hours(t.Context(), hoursOf(t, "s-0407", 1)) == nil })
	const mark = "from the box"
	for _, subject := range []string{
		SubjectStatus + "s-2", SubjectStatus + "s-2" + HoursSuffix,
		"gateline.status", SubjectStatus + "s-0407.other", SubjectStatus + "s-0407.hours.more", SubjectFeed, SubjectLive, "gateline.ledger", SubjectOps + "fleet.forget",
		InboxPrefix + "s-2.1", "$JS.API.STREAM.PURGE." + StreamStatus, "$JS.centre.API.STREAM.PURGE." + StreamStatus, "$JS.centre.API.STREAM.MSG.GET." + StreamStatus,
		"$JS.centre.API.DIRECT.GET." + StreamStatus, fetchPrefix + StreamStatus, "$JS.centre.API.CONSUMER.CREATE." + StreamStatus,
	} {
		if err := r.nc.PublishRequest(subject, InboxPrefix+"s-0407.reply", []byte(mark)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Hours(t.Context(), hoursOf(t, "s-0407", 2)); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := all.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal("the box's own report does not arrive")
		}
		if string(m.Data) == mark {
			t.Errorf("%s arrives at the centre", m.Subject)
		}
		var h Hours
		if m.Subject == SubjectStatus+"s-0407"+HoursSuffix && json.Unmarshal(m.Data, &h) == nil && h.Hours[0].Answers["R00"] == 2 {
			break
		}
	}
	// The acknowledgement comes after whatever else was on its way to the box.
	const secret = "of another station"
	if err := c.js.Conn().Publish(SubjectStatus+"s-2", []byte(secret)); err != nil {
		t.Fatal(err)
	}
	flush(t, c.js.Conn())
	if err := r.Hours(t.Context(), hoursOf(t, "s-0407", 3)); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := others.NextMsg(time.Millisecond)
		if err != nil {
			break
		}
		if string(m.Data) == secret { // its own it does hear, from its own server
			t.Error("the box hears another station")
		}
	}
}
