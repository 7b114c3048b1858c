// Package cluster measures a tree in a database beside a directory: the same program, client and machine, in turn. It
// starts PostgreSQL, with its disk writes on, and one replica, and prints tables in Markdown.
//
// Times depend on the machine and on its other work. The ratios of one run, and the time on a processor, do so less.
package cluster

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/bench/compare"
)

// A bench is one run.
type bench struct {
	dir     string
	binary  string
	other   string // another build, which has a database of its own ("": none)
	only    *regexp.Regexp
	seconds float64
	rounds  int
	members int // of the large collection
	moved   int // files of the tree that is moved and copied
	rows    int // of the tables that are measured, 0 for none
	out     io.Writer
	log     io.Writer
	places  []*place
	results map[string]map[string][]sample // by workload and place
}

// Main is the program with "cluster" as its first argument.
func Main(ctx context.Context, args []string, out, log io.Writer) (err error) {
	b := bench{out: out, log: log, results: map[string]map[string][]sample{}}
	flags := flag.NewFlagSet("bench cluster", flag.ContinueOnError)
	flags.Float64Var(&b.seconds, "seconds", 3, "for how many `SECONDS` each workload runs, each time")
	flags.IntVar(&b.rounds, "rounds", 3, "how many `ROUNDS` there are; the median is told")
	flags.IntVar(&b.members, "members", 10_000, "how many `MEMBERS` the large collection has")
	flags.IntVar(&b.moved, "moved", 100_000, "how many `FILES` are moved and copied")
	flags.IntVar(&b.rows, "rows", 1_000_000, "how many `ROWS` the tables have whose size is measured (0: none)")
	flags.StringVar(&b.other, "beside", "", "measure another build of the `PROGRAM`, too, over a database of its own")
	only := flags.String("only", "", "measure the workloads whose names match `REGEXP` alone")
	flags.StringVar(&b.dir, "dir", "", "serve new trees below `DIR` (default: where temporary files go)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.only, err = regexp.Compile(*only); err != nil {
		return err
	}
	work, err := os.MkdirTemp(b.dir, "ifmatch-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b.dir, b.binary = work, filepath.Join(work, "ifmatch")
	if err := os.Chmod(work, 0o755); err != nil { // the user of the database enters it
		return err
	}
	if err := compare.Build(ctx, b.binary, false); err != nil {
		return err
	}
	database, err := startDatabase(b.dir)
	if err != nil {
		return err
	}
	defer database.Stop()
	return b.run(ctx, database)
}

func (b *bench) run(ctx context.Context, database *database) error {
	began := compare.Load()
	opens := []func(context.Context) (*place, error){
		b.directory,
		func(ctx context.Context) (*place, error) { return b.replica(ctx, database, "database", b.binary) },
	}
	if b.other != "" {
		opens = append(opens, func(ctx context.Context) (*place, error) { return b.replica(ctx, database, "beside", b.other) })
	}
	for _, open := range opens {
		p, err := open(ctx)
		if err != nil {
			return err
		}
		defer p.stop()
		b.places = append(b.places, p)
	}
	for round := range b.rounds {
		for _, w := range b.workloads() {
			for _, p := range b.places {
				fmt.Fprintf(b.log, "bench: round %d, %s, %s (load %s)\n", round+1, w.name, p.name, compare.Load())
				before := p.cpu()
				one, err := w.do(ctx, p, round)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", w.name, p.name, err)
				}
				one.cpu = p.cpu().less(before)
				if b.results[w.name] == nil {
					b.results[w.name] = map[string][]sample{}
				}
				b.results[w.name][p.name] = append(b.results[w.name][p.name], one)
			}
		}
	}
	b.print(began)
	if b.rows > 0 {
		return b.growth(ctx)
	}
	return nil
}

// A sample has the figures of one run of a workload.
type sample struct {
	n       int           // requests that were counted
	elapsed time.Duration // of all of them
	waits   []time.Duration
	cpu     cpu
}

// print prints the tables.
func (b *bench) print(began string) {
	fmt.Fprintf(b.out, "Load %s at the beginning and %s at the end. %d rounds of %g s, the median of them.\n\n", began, compare.Load(),
		b.rounds, b.seconds)
	head, line := "| workload |", "| --- |"
	for _, what := range []string{"%s", "%s: p50 / p99, ms", "%s: CPU, ms each"} {
		for _, p := range b.places {
			head, line = head+fmt.Sprintf(" "+what+" |", p.name), line+" --- |"
		}
	}
	fmt.Fprintf(b.out, "%s\n%s\n", head, line)
	for _, w := range b.workloads() {
		fmt.Fprintf(b.out, "| %s |", w.name)
		all := b.results[w.name]
		for _, p := range b.places {
			rate := median(all[p.name], func(s sample) float64 { return float64(s.n) / s.elapsed.Seconds() })
			if w.single {
				fmt.Fprintf(b.out, " %.3g ms |", 1000/rate)
			} else {
				fmt.Fprintf(b.out, " %.0f/s |", rate)
			}
		}
		for _, p := range b.places {
			fmt.Fprintf(b.out, " %.3g / %.3g |", median(all[p.name], quantile(0.5)), median(all[p.name], quantile(0.99)))
		}
		for _, p := range b.places {
			each := func(part func(cpu) time.Duration) float64 {
				return median(all[p.name], func(s sample) float64 { return ms(part(s.cpu)) / float64(s.n) })
			}
			fmt.Fprintf(b.out, " %.3g", each(func(c cpu) time.Duration { return c.server }))
			if p.database != nil {
				fmt.Fprintf(b.out, " + %.3g", each(func(c cpu) time.Duration { return c.database }))
			}
			fmt.Fprint(b.out, " |")
		}
		fmt.Fprintln(b.out)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func quantile(q float64) func(sample) float64 {
	return func(s sample) float64 {
		slices.Sort(s.waits)
		return ms(s.waits[min(len(s.waits)-1, int(q*float64(len(s.waits))))])
	}
}

func median(all []sample, of func(sample) float64) float64 {
	var values []float64
	for _, s := range all {
		values = append(values, of(s))
	}
	slices.Sort(values)
	if len(values) == 0 {
		return 0
	}
	return values[len(values)/2]
}
