package compare

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// print writes the tables in Markdown.
func (r *report) print(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%d CPUs, %s, %s, kernel %s. Files are on %s, and on %s where it says on disk. %s, load %s at the "+
		"beginning and %s at the end. %d rounds, the servers in turn. %s\n\n", m.CPUs, m.System, m.Go, m.Kernel, m.Dir,
		m.Disk, m.Date, m.LoadBegan, m.LoadEnded, r.Rounds, r.versions())
	if r.Quick {
		fmt.Fprint(w, "Less was sent than the titles say (-quick): the figures are good for nothing.\n\n")
	}
	r.table(w, "The median of the rounds:", valueCell)
	r.table(w, "How many times the figure of each server ifmatch takes, the median of the rounds (\"none\": with "+
		"`--durability none`). For rates, more is better:", ratioCell)
	r.table(w, "Milliseconds that a client waits, half of the requests and 99 of 100:", waitCell)
	r.table(w, "Peak memory in MiB (of all processes of a server, shared pages counted for each):", memoryCell)
	r.failures(w)
}

func (r *report) versions() string {
	var all []string
	for _, name := range r.Servers {
		if version := r.Versions[name]; version != "" && name != oursNone && !strings.HasSuffix(name, " none") {
			all = append(all, name+" "+version)
		}
	}
	text := strings.Join(all, ", ") + "."
	if len(r.Missing) > 0 {
		text += " Not installed: " + strings.Join(r.Missing, ", ") + "."
	}
	return text
}

func (r *report) table(w io.Writer, what string, cell func(unit, *result) string) {
	fmt.Fprintf(w, "%s\n\n", what)
	row := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	row(append([]string{"", "unit"}, r.Servers...))
	row(slices.Repeat([]string{"---"}, len(r.Servers)+2))
	for _, workload := range r.Workloads {
		cells := []string{workload.Title, string(workload.Unit)}
		for _, server := range r.Servers {
			cells = append(cells, cellOf(workload, server, cell))
		}
		row(cells)
	}
	fmt.Fprintln(w)
}

func cellOf(m measured, server string, cell func(unit, *result) string) string {
	for _, one := range m.Results {
		switch {
		case one.Server != server:
		case one.Failed != "":
			return "–"
		default:
			return cell(m.Unit, one)
		}
	}
	return ""
}

func waitCell(_ unit, one *result) string { return number(one.P50) + " / " + number(one.P99) }

func memoryCell(_ unit, one *result) string {
	if one.PeakMiB == 0 {
		return ""
	}
	return number(one.PeakMiB)
}

func valueCell(_ unit, one *result) string {
	if one.Remark != "" {
		return fmt.Sprintf("%s (%s)", number(one.Value), one.Remark)
	}
	return number(one.Value)
}

func ratioCell(_ unit, one *result) string {
	switch {
	case one.Server == ours || one.Server == oursNone:
		return "1"
	case one.NoneTo > 0:
		return fmt.Sprintf("%s, none %s", number(one.Ratio), number(one.NoneTo))
	case one.Ratio == 0:
		return ""
	}
	return number(one.Ratio)
}

// failures says why there are figures that are missing.
func (r *report) failures(w io.Writer) {
	for _, workload := range r.Workloads {
		for _, one := range workload.Results {
			if one.Failed != "" {
				why, _, _ := strings.Cut(one.Failed, "\n")
				fmt.Fprintf(w, "- %s, %s: %s\n", workload.Title, one.Server, why)
			}
		}
	}
}

// number writes three digits.
func number(x float64) string {
	switch magnitude := math.Abs(x); {
	case magnitude == 0:
		return "0"
	case magnitude >= 100:
		return fmt.Sprintf("%.0f", x)
	case magnitude >= 10:
		return fmt.Sprintf("%.1f", x)
	case magnitude >= 1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}
