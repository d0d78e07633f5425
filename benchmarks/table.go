package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// writeTable writes a result for people.
func (r *result) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "%d records of an 8-byte token and at most 8 bytes; medians of %d rounds, longest of all; %.1f s of lookups alone, %.1f s beside %d updates/s in batches of %d\n",
		r.Records, r.Rounds, r.Seconds, r.Beside, r.UpdatesPerSecond, r.Batch)
	fmt.Fprintf(w, "%s\n\n", r.Machine)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tload\tpeak\tdisk\tmemory\tof it\tfirst\tlookup\t\t\tbeside updates\t\t\tupdates\tlongest\tallocs\t")
	fmt.Fprintln(t, "store\tM/s\tMB\tMB\tMB\tmapped\tanswer\tp50\tp99\tp99.9\tp50\tp99\tp99.9\tk/s\tlookup\tper lookup\t")
	overhead := 0.0
	var without []string
	for _, o := range r.Stores {
		if o.Median == nil {
			without = append(without, fmt.Sprintf("%s is left out: %s.", o.Name, o.Skipped))
			continue
		}
		l, m := &o.Median.Load, &o.Median.Lookups
		overhead = max(overhead, m.OverheadNS)
		cells := []string{
			o.Name, fmt.Sprintf("%.2f", float64(r.Records)/l.Seconds/1e6), megabytes(l.Peak), megabytes(l.Disk),
			megabytes(m.Memory.Anonymous + m.Memory.Mapped), megabytes(m.Memory.Mapped), shortTime(m.OpenMS * 1e6),
			shortTime(m.Quiet.P50), shortTime(m.Quiet.P99), shortTime(m.Quiet.P999),
			shortTime(m.Busy.P50), shortTime(m.Busy.P99), shortTime(m.Busy.P999),
			fmt.Sprintf("%.1f", m.UpdatesPerSecond/1e3), shortTime(max(m.Quiet.Max, m.Busy.Max)), allocations(m),
		}
		fmt.Fprintln(t, strings.Join(cells, "\t")+"\t")
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	fmt.Fprintf(w, "\nMeasuring a lookup takes up to %.0f ns at the median, which are taken off each.\n", overhead)
	fmt.Fprintln(w, "Go map and flat table live in memory: load writes one file, the first answer waits until that is read, and updates are lost at the end.")
	for _, line := range without {
		fmt.Fprintln(w, line)
	}
	return nil
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.0f", float64(bytes)/1e6) }

func allocations(m *measured) string {
	if m.Allocs < 0.005 { // the odd one is the runtime's own
		return "0"
	}
	return fmt.Sprintf("%.1f, %.0f B", m.Allocs, m.AllocBytes)
}

// shortTime writes nanoseconds with three digits and their unit.
func shortTime(ns float64) string {
	unit := "ns"
	for _, u := range []string{"µs", "ms", "s"} {
		if ns < 999.5 {
			break
		}
		ns, unit = ns/1000, u
	}
	switch {
	case unit == "ns" || ns >= 99.95:
		return fmt.Sprintf("%.0f %s", ns, unit)
	case ns >= 9.995:
		return fmt.Sprintf("%.1f %s", ns, unit)
	}
	return fmt.Sprintf("%.2f %s", ns, unit)
}
