package main

import (
	"fmt"
	"io"
	"strings"

	"gateline/simulator"
)

// printStory prints what only some scenarios report.
func printStory(out io.Writer, r *simulator.Report) {
	row := rowsTo(out)
	if b := r.Bootstrap; b != nil {
		row("loaded", "%d records in %.2f s, %.0f a second; %.1f MB over the link for snapshots of %.1f MB", b.Records, b.Seconds, b.RecordsPerSecond, float64(b.Bytes)/1e6, float64(b.SnapshotBytes)/1e6)
		row("stopped", "with %d shards loaded; opened again it had %d to load", b.KilledAt, b.Left)
		row("live entries", "%d while it loaded, p50 %.1f  p99 %.1f ms from the centre's commit to the end of the link", b.Live, b.LiveMS.P50, b.LiveMS.P99)
	}
	if p := r.Repair; p != nil {
		row("falsified", "%d shards, %d found, %d mended; %d other records changed, %d loads of everything", p.Falsified, p.Found, p.Mended, p.Other, p.Reloads)
		row("mended", "p50 %.0f  max %.0f ms after the shard's checkpoint, which comes once in %.0f s here", p.MendedMS.P50, p.MendedMS.Max, p.CycleSeconds)
	}
	for _, o := range r.Partition {
		row(o.Fault, "%.1f s; seen %s, up again %.1f s and level %.1f s %s; %d entries behind at its end, %d with %d records until level",
			o.Seconds, seenText(o.Seen), o.Reconnected, o.Level, sinceText(o.Fault), o.Behind, o.Entries, o.Records)
	}
	if r.City != nil {
		printCity(out, r)
	}
	if r.Notice != nil {
		printNotice(out, r)
	}
}

func seenText(seconds float64) string {
	if seconds == 0 {
		return "never"
	}
	return fmt.Sprintf("after %.1f s", seconds)
}

func sinceText(fault string) string {
	if fault == "hole" {
		return "after it began"
	}
	return "after it ended"
}

// printCity prints what boxes cost and what that comes to.
func printCity(out io.Writer, r *simulator.Report) {
	row := rowsTo(out)
	c := r.City
	row("city", "%d boxes, %d entries with %d changes in %.1f s", c.Stations, c.Entries, c.Changes, c.Seconds)
	row("propagation", "p50 %.1f  p99 %.1f ms from the centre's commit to a box, over all boxes", r.PropagationMS.P50, r.PropagationMS.P99)
	m := c.Costs
	row("centre", "%.2f cores and %.0f MB by itself at %.1f entries a second", m.BaseCores, m.BaseMB, m.EntriesPerSecond)
	row("each leaf", "%.1f µs of processor time and %.0f bytes for an entry, %.2f MB of memory; %d measured", m.LeafEntryUS, m.EntryBytes, m.LeafMB, c.Leafs)
	for _, p := range c.Plans {
		row(fmt.Sprintf("%d stations", p.Stations), "%.0f messages and %.1f MB a second, %.2f cores, %.0f MB: %s first, %.0f %% of %s", p.Messages, p.EgressMB, p.Cores, p.MemoryMB, p.First, 100*p.Share, serverText(p.First, c.Server))
		row("", "%s", relayText(p.Relays))
	}
	row("boxes = centre", "%v", r.Equal)
}

func serverText(what string, s simulator.Server) string {
	switch what {
	case "cpu":
		return fmt.Sprintf("%.0f cores", s.Cores)
	case "egress":
		return fmt.Sprintf("%.0f MB a second", s.EgressMB)
	}
	return fmt.Sprintf("%.0f MB", s.MemoryMB)
}

// relayText says which leaf hubs stand between centre and boxes.
func relayText(layers []int) string {
	switch {
	case layers == nil:
		return "such a server cannot take two leafs: a larger one, or fewer changes"
	case len(layers) == 0:
		return "the centre's server is enough"
	}
	var texts []string
	for _, n := range layers {
		texts = append(texts, fmt.Sprint(n))
	}
	return "relays between, so that every server is half used: " + strings.Join(texts, " above ")
}
