package compare

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is all that was measured, as it goes to JSON.
type report struct {
	Machine   machine           `json:"machine"`
	Rounds    int               `json:"rounds"`
	Quick     bool              `json:"quick,omitempty"` // less was sent than the titles say
	Versions  map[string]string `json:"versions"`        // by server, "" if the program does not tell
	Missing   []string          `json:"missing,omitempty"`
	Servers   []string          `json:"servers"` // in their order
	Workloads []measured        `json:"workloads"`
}

type machine struct {
	CPUs      int    `json:"cpus"`
	System    string `json:"system"`
	Go        string `json:"go"`
	Kernel    string `json:"kernel"`
	Dir       string `json:"dir"` // the file systems
	Disk      string `json:"disk"`
	LoadBegan string `json:"load_began"`
	LoadEnded string `json:"load_ended"`
	Date      string `json:"date"`
}

type measured struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Unit    unit      `json:"unit"`
	Results []*result `json:"results"`
}

// A result is of one server in one workload. Times are in milliseconds.
type result struct {
	Server   string    `json:"server"`
	Failed   string    `json:"failed,omitempty"` // why there is no figure
	Remark   string    `json:"remark,omitempty"`
	Values   []float64 `json:"values"` // of each round, in the unit of the workload
	Value    float64   `json:"value"`  // their median
	Ratio    float64   `json:"ratio"`  // of ours at its defaults to this one: the median of the rounds' ratios
	NoneTo   float64   `json:"ratio_none,omitempty"`
	CPU      float64   `json:"cpu_each"` // of the server for each step, the median of the rounds
	P50      float64   `json:"p50"`      // over all rounds
	P99      float64   `json:"p99"`
	PeakMiB  float64   `json:"peak_mib"`
	Requests int       `json:"requests"` // steps, in all
	Lost     *int64    `json:"lost,omitempty"`

	cpu       []float64
	latencies []time.Duration
}

// unguarded reports whether a server has done less than the workload asks for: it has ignored a condition.
func (r *result) unguarded() bool {
	return r.Remark == ignoresCondition || r.Lost != nil && *r.Lost != 0
}

const ignoresCondition = "ignores the condition"

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// note adds a round.
func (r *result) note(w *workload, s sample) {
	each := millis(s.cpu) / float64(s.requests)
	value := each
	switch w.unit {
	case wallEach:
		value = millis(s.elapsed) / float64(s.requests)
		if len(s.latencies) == 1 {
			value = millis(s.latencies[0])
		}
	case rate:
		value = float64(s.requests) / s.elapsed.Seconds()
	case mibRate:
		value = float64(s.bytes>>20) / s.elapsed.Seconds()
	}
	r.Values, r.cpu = append(r.Values, value), append(r.cpu, each)
	r.latencies = append(r.latencies, s.latencies...)
	r.Requests += s.requests
	r.PeakMiB = max(r.PeakMiB, float64(s.peak)/1024)
}

func newReport(c *comparison) *report {
	r := &report{Rounds: c.rounds, Versions: map[string]string{}, Machine: machine{
		CPUs: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Kernel: kernel(),
		Dir: fileSystem(c.dir), Disk: fileSystem(c.disk), LoadBegan: Load(), Date: time.Now().UTC().Format(time.DateOnly)}}
	for _, s := range c.servers {
		r.Servers = append(r.Servers, s.name)
	}
	return r
}

// add computes the figures of a workload.
func (r *report) add(w *workload, results []*result) {
	find := func(name string) *result {
		if i := slices.IndexFunc(results, func(r *result) bool { return r.Server == name && r.Failed == "" }); i >= 0 {
			return results[i]
		}
		return nil
	}
	for _, one := range results {
		if one.Failed != "" || len(one.Values) == 0 {
			one.Values = []float64{}
			one.Failed = cmp.Or(one.Failed, "no round was measured")
			continue
		}
		one.Value, one.CPU = median(one.Values), median(one.cpu)
		one.Ratio, one.NoneTo = ratio(find(ours), one), ratio(find(oursNone), one)
		slices.Sort(one.latencies)
		one.P50, one.P99 = percentile(one.latencies, 50), percentile(one.latencies, 99)
	}
	r.Workloads = append(r.Workloads, measured{Name: w.name, Title: w.title, Unit: w.unit, Results: results})
}

// ratio returns the median of how many times the figure of the other one a figure is, round by round.
func ratio(of, to *result) float64 {
	if of == nil || len(of.Values) != len(to.Values) {
		return 0
	}
	var each []float64
	for i := range of.Values {
		if to.Values[i] <= 0 {
			return 0
		}
		each = append(each, of.Values[i]/to.Values[i])
	}
	return median(each)
}

// median returns the middle one, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// percentile returns the least time that the given percentage of the sorted times do not exceed.
func percentile(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return millis(sorted[max(0, (len(sorted)*percent+99)/100-1)])
}

// readReport reads the figures of an earlier run.
func readReport(name string) (*report, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := new(report)
	return r, json.Unmarshal(text, r)
}

// outputs are where a report goes besides.
type outputs struct{ json, svg, page string }

func (o *outputs) write(r *report, stdout io.Writer) error {
	var tables strings.Builder
	r.print(&tables)
	_, err := io.WriteString(stdout, tables.String())
	if o.json != "" {
		text, failed := json.MarshalIndent(r, "", " ")
		err = errors.Join(err, failed, os.WriteFile(o.json, append(text, '\n'), 0o666))
	}
	if o.svg != "" {
		err = errors.Join(err, os.WriteFile(o.svg, r.plot(), 0o666))
	}
	if o.page != "" {
		err = errors.Join(err, replaceBetween(o.page, tables.String()))
	}
	return err
}

// Marks of the tables in a page.
const (
	pageBegins = "<!-- compare: written by go run ./bench compare -page -->\n"
	pageEnds   = "<!-- /compare -->"
)

func replaceBetween(page, tables string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), pageBegins)
	_, after, ends := strings.Cut(rest, pageEnds)
	if !begins || !ends {
		return fmt.Errorf("%s has no line %q with a line %q behind it", page, strings.TrimSpace(pageBegins), pageEnds)
	}
	return os.WriteFile(page, []byte(before+pageBegins+"\n"+tables+"\n"+pageEnds+after), 0o666)
}
