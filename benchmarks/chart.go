package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The picture: for each store two bars on a logarithmic axis, lookups alone and
// beside updates, from the median to the 99.9th percentile.

const (
	chartWidth  = 960
	chartLeft   = 120 // where the axis begins
	chartRight  = 930
	chartTop    = 96
	chartRow    = 48 // of one store
	chartBottom = 56
)

// axis maps times to places from left to right.
type axis struct{ low, high float64 } // powers of ten

func axisOf(least, most float64) axis {
	low := math.Floor(math.Log10(max(least, 1)))
	return axis{low: low, high: max(low+1, math.Ceil(math.Log10(max(most, 1))))}
}

func (a axis) x(ns float64) float64 {
	part := (math.Log10(max(ns, 1)) - a.low) / (a.high - a.low)
	return chartLeft + part*(chartRight-chartLeft)
}

// chart draws a result as SVG.
func (r *result) chart() (string, error) {
	var stores []outcome
	least, most := math.Inf(1), 0.0
	for _, o := range r.Stores {
		if o.Median != nil {
			stores = append(stores, o)
			q, b := &o.Median.Lookups.Quiet, &o.Median.Lookups.Busy
			least, most = min(least, q.P50, b.P50), max(most, q.P999, b.P999)
		}
	}
	if len(stores) == 0 {
		return "", fmt.Errorf("draw a picture: no store was measured; name some with --only")
	}
	slices.SortStableFunc(stores, func(a, b outcome) int {
		return int(math.Copysign(1, a.Median.Lookups.Quiet.P50-b.Median.Lookups.Quiet.P50))
	})
	a := axisOf(least, most)
	height := chartTop + len(stores)*chartRow + chartBottom
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="14" role="img" aria-label="%s">`+"\n",
		chartWidth, height, html.EscapeString(chartSays(stores)))
	b.WriteString(`<style>
.bg{fill:#fff}.t{font-weight:600;fill:#1f2328}.s{fill:#57606a;font-size:12.5px}.g{stroke:#d0d7de}.own{fill:#f1f7ff}
.q{stroke:#0969da;fill:#0969da}.u{stroke:#bc4c00;fill:#bc4c00}.bar{stroke-width:3}.end{stroke-width:2}
</style>
`)
	fmt.Fprintf(&b, `<rect class="bg" width="%d" height="%d"/>`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<text class="t" x="20" y="30">One lookup among %s records</text>`+"\n", grouped(r.Records))
	legend(&b, 20, 54, "q", "alone")
	legend(&b, 110, 54, "u", fmt.Sprintf("beside %s updates/s", grouped(r.UpdatesPerSecond)))
	b.WriteString(`<text class="s" x="930" y="58" text-anchor="end">dot: median · tick: 99 % · end: 99.9 %</text>` + "\n")
	grid(&b, a, height-chartBottom)
	for i, o := range stores {
		y := float64(chartTop + i*chartRow)
		if o.Name == peers()[0].name {
			fmt.Fprintf(&b, `<rect class="own" x="10" y="%.0f" width="%d" height="%d" rx="6"/>`+"\n", y, chartWidth-20, chartRow)
		}
		fmt.Fprintf(&b, `<text class="t" x="%d" y="%.0f" text-anchor="end">%s</text>`+"\n", chartLeft-14, y+chartRow/2+5, html.EscapeString(o.Name))
		bar(&b, a, y+16, "q", &o.Median.Lookups.Quiet)
		bar(&b, a, y+34, "u", &o.Median.Lookups.Busy)
	}
	fmt.Fprintf(&b, `<text class="s" x="20" y="%d">%s</text>`+"\n</svg>\n", height-14, html.EscapeString(fmt.Sprintf(
		"%d cores (%s), Linux %s, %s; medians of %d rounds", r.Machine.Cores, r.Machine.CPU, r.Machine.Kernel, r.Machine.Go, r.Rounds)))
	return b.String(), nil
}

// chartSays is the picture in words.
func chartSays(stores []outcome) string {
	var words []string
	for _, o := range stores {
		words = append(words, o.Name+" "+shortTime(o.Median.Lookups.Quiet.P50))
	}
	return "The median time of one lookup: " + strings.Join(words, ", ")
}

func legend(b *strings.Builder, x, y float64, class, text string) {
	fmt.Fprintf(b, `<g class="%s"><path class="bar" d="M%.0f %.0fh26"/><circle cx="%.0f" cy="%.0f" r="4.5"/></g><text class="s" x="%.0f" y="%.0f">%s</text>`+"\n",
		class, x, y, x, y, x+34, y+4, html.EscapeString(text))
}

// grid draws a line for each power of ten.
func grid(b *strings.Builder, a axis, bottom int) {
	for e := a.low; e <= a.high; e++ {
		x := a.x(math.Pow(10, e))
		fmt.Fprintf(b, `<path class="g" d="M%.1f %dV%d"/><text class="s" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, chartTop-10, bottom, x, bottom+18, tenTo(int(e)))
	}
}

// tenTo names a power of ten of nanoseconds.
func tenTo(e int) string {
	units := []string{"ns", "µs", "ms", "s"}
	u := min(e/3, len(units)-1)
	return fmt.Sprintf("%.0f %s", math.Pow(10, float64(e-3*u)), units[u])
}

func bar(b *strings.Builder, a axis, y float64, class string, l *latency) {
	from, tick, to := a.x(l.P50), a.x(l.P99), a.x(l.P999)
	fmt.Fprintf(b, `<g class="%s"><title>%s</title><path class="bar" d="M%.1f %.0fH%.1f"/><path class="end" d="M%.1f %.0fv10M%.1f %.0fv10"/><circle cx="%.1f" cy="%.0f" r="4.5"/></g>`+"\n",
		class, html.EscapeString("p50 "+shortTime(l.P50)+", p99 "+shortTime(l.P99)+", p99.9 "+shortTime(l.P999)), from, y, to, tick, y-5, to, y-5, from, y)
}

// grouped writes a number with commas.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
