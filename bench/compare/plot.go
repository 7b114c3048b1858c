package compare

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
)

// Sizes of the plot, in pixels.
const (
	plotLabels = 290 // width of the names of the workloads
	plotWidth  = 560 // of the axis
	plotRow    = 26
	plotTop    = 64
	plotKey    = 98 // width of the name of a server
)

// plotColours are those of the servers in their order. Ours come first.
var plotColours = []string{
	"#c0392b", "#e67e22", "#2c7fb8", "#31a354", "#756bb1", "#636363", "#8c6d31", "#17becf", "#e377c2", "#bcbd22",
}

// A dot is the figure of a server, in multiples of the best one of its row.
type dot struct {
	server int
	times  float64
	hollow bool
}

// dots returns a row for each workload, and the range of the multiples. A server that has ignored a condition may have
// less than one.
func (r *report) dots() (rows [][]dot, least, most float64) {
	rows, least, most = make([][]dot, len(r.Workloads)), 1, 2
	for i, w := range r.Workloads {
		cost := func(one *result) float64 {
			if w.Unit.more() {
				return 1 / one.Value
			}
			return one.Value
		}
		best := math.Inf(1)
		for _, one := range w.Results {
			if one.Value > 0 && !one.unguarded() {
				best = min(best, cost(one))
			}
		}
		for _, one := range w.Results {
			if at := slices.Index(r.Servers, one.Server); one.Value > 0 && at >= 0 {
				rows[i] = append(rows[i], dot{at, cost(one) / best, one.unguarded()})
				least, most = min(least, cost(one)/best), max(most, cost(one)/best)
			}
		}
	}
	return rows, least, most
}

// plot draws a row of dots for each workload on a logarithmic axis. Left is better in each row.
func (r *report) plot() []byte {
	rows, least, most := r.dots()
	first, last := math.Floor(math.Log2(least)), math.Ceil(math.Log2(most))
	x := func(times float64) float64 {
		return plotLabels + 10 + (math.Log2(times)-first)/(last-first)*plotWidth
	}
	bottom := plotTop + plotRow*len(rows)

	var b bytes.Buffer
	draw := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	draw(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`,
		max(plotLabels+plotWidth+40, 10+plotKey*len(r.Servers)), bottom+30)
	draw(`<rect width="100%%" height="100%%" fill="white"/>`)
	draw(`<text x="10" y="18" font-size="14">%s</text>`,
		"Cost of each server, in multiples of the best one (left is better; hollow: ignores conditions)")
	for i, name := range r.Servers {
		at := 10 + i*plotKey
		draw(`<circle cx="%d" cy="36" r="5" fill="%s"/>`, at+5, colour(i))
		draw(`<text x="%d" y="40">%s</text>`, at+14, html.EscapeString(name))
	}
	for n := first; n <= last; n += math.Ceil((last - first) / 10) {
		at := x(math.Exp2(n))
		draw(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ddd"/>`, at, at, plotTop-8, bottom+2)
		draw(`<text x="%.1f" y="%d" text-anchor="middle">%g×</text>`, at, bottom+18, math.Exp2(n))
	}
	for i, w := range r.Workloads {
		y := plotTop + plotRow*i + plotRow/2
		draw(`<text x="%d" y="%d" text-anchor="end">%s</text>`, plotLabels, y+4, html.EscapeString(w.Title))
		for _, d := range slices.Backward(rows[i]) { // ours on top
			opacity := 0.85
			if d.hollow {
				opacity = 0
			}
			draw(`<circle cx="%.1f" cy="%d" r="5" fill="%s" fill-opacity="%g" stroke="%s">`,
				x(d.times), y, colour(d.server), opacity, colour(d.server))
			draw(`<title>%s: %s times the best</title></circle>`,
				html.EscapeString(r.Servers[d.server]), number(d.times))
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func colour(i int) string { return plotColours[i%len(plotColours)] }
