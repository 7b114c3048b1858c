// Package compare measures the server side by side with other WebDAV servers: each serves a fresh directory on a
// loopback address, all get the same requests in turn (A B C, B C A, …), and every answer is checked.
//
// The figures of one run are only good beside each other: a ratio is the median of the ratios of the rounds.
package compare

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ours are the names of the server that is measured, at its defaults and with the durability that the others have.
const (
	ours     = "ifmatch"
	oursNone = "ifmatch none"
)

// A comparison is one run.
type comparison struct {
	rounds    int
	scale     scale
	servers   []*server
	workloads []*workload
	dir       string // holds the served directories, in memory if there is such a file system
	disk      string // the same on a disk, for workloads that wait for it

	work        string // where the programs and configurations are
	ifmatch     string // the program that is measured
	self        string // this program
	certificate certificate
	from        string // a report that is printed in place of a run
	log         io.Writer
}

// Main runs a comparison. args are those behind the name of the command. Tables go to stdout, progress to stderr.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "-serve" {
		return serveReference(ctx, args[1:])
	}
	c := &comparison{log: stderr}
	var out outputs
	if err := c.parse(args, &out); err != nil {
		return err
	}
	report, err := c.runOrRead(ctx)
	if report != nil {
		err = errors.Join(err, out.write(report, stdout))
	}
	return err
}

func (c *comparison) runOrRead(ctx context.Context) (*report, error) {
	if c.from != "" {
		return readReport(c.from)
	}
	return c.run(ctx)
}

func (c *comparison) parse(args []string, out *outputs) error {
	flags := flag.NewFlagSet("bench compare", flag.ContinueOnError)
	flags.SetOutput(c.log)
	peers := flags.String("peers", "nginx,lighttpd,apache,xnet,rclone,bare,raw",
		"compare with these `SERVERS`; one that is not installed is left out, and named")
	only := flags.String("only", "", "measure these `WORKLOADS` alone (default: all; a wrong name lists them)")
	builds := flags.String("builds", "", "compare also with other builds of this server: `NAME=PROGRAM,...`")
	quick := flags.Bool("quick", false, "send few requests: whether all works is seen, and nothing else")
	flags.IntVar(&c.rounds, "rounds", 5, "how many `TIMES` each server gets each workload")
	flags.StringVar(&c.ifmatch, "ifmatch", "", "measure this `PROGRAM` (default: build it)")
	flags.StringVar(&c.dir, "dir", "", "serve from below `DIR` (default: /dev/shm if it is there)")
	flags.StringVar(&c.disk, "disk", "",
		"serve from below `DIR` where a workload waits for the disk (default: where temporary files go)")
	flags.StringVar(&c.from, "from", "", "measure nothing, and print the figures that -json has written to `FILE`")
	flags.StringVar(&out.json, "json", "", "write all figures to `FILE`")
	flags.StringVar(&out.svg, "svg", "", "draw a plot in `FILE`")
	flags.StringVar(&out.page, "page", "", "put the tables between the marks in `FILE`, a page in Markdown")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || c.rounds < 1 {
		return errors.New("compare takes flags alone, and -rounds is 1 at least")
	}
	if c.scale = fullScale; *quick {
		c.scale = quickScale
	}
	var err error
	if c.servers, err = chooseServers(*peers, *builds); err != nil {
		return err
	}
	if c.workloads, err = chooseWorkloads(*only); err != nil {
		return err
	}
	if c.dir == "" {
		if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
			c.dir = "/dev/shm"
		}
	}
	return nil
}

func (c *comparison) run(ctx context.Context) (r *report, err error) {
	if c.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if c.work, err = openDirectory(""); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.work)) }()
	if c.ifmatch == "" {
		c.ifmatch = filepath.Join(c.work, "ifmatch-program")
		if err := Build(ctx, c.ifmatch, c.scale != quickScale); err != nil {
			return nil, err
		}
	}
	if c.certificate, err = makeCertificate(c.work); err != nil {
		return nil, err
	}
	r = newReport(c)
	r.Quick = c.scale == quickScale
	c.leaveOut(ctx, r)
	for _, w := range c.workloads {
		began := time.Now()
		fmt.Fprintf(c.log, "compare: %s (load %s) … ", w.title, Load())
		results, err := c.measure(ctx, w)
		fmt.Fprintf(c.log, "%.1f s\n", time.Since(began).Seconds())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.title, err)
		}
		r.add(w, results)
	}
	r.Machine.LoadEnded = Load()
	return r, nil
}

// leaveOut takes servers that are not installed out of the comparison.
func (c *comparison) leaveOut(ctx context.Context, r *report) {
	c.servers = slices.DeleteFunc(c.servers, func(s *server) bool {
		err := s.find(c)
		if err != nil {
			fmt.Fprintf(c.log, "compare: %s is left out: %v\n", s.name, err)
			r.Missing = append(r.Missing, s.name)
			return true
		}
		r.Versions[s.name] = s.version(ctx)
		return false
	})
}

// openDirectory makes a new directory that other users can look into: some servers run as another user.
func openDirectory(below string) (string, error) {
	dir, err := os.MkdirTemp(below, "ifmatch-compare-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// settle is how long the CPU time of a server still counts after its last answer, for work that it has put off.
const settle = 100 * time.Millisecond

// measure has all servers do a workload. A server that answers wrongly is left out of it with the reason, unless it is
// ours.
func (c *comparison) measure(ctx context.Context, w *workload) (results []*result, err error) {
	below := c.dir
	if w.disk {
		below = c.disk
	}
	top, err := openDirectory(below)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	var sites []*site
	defer func() {
		for _, s := range sites {
			if failed := s.stop(); failed != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", s.server.name, failed))
			}
		}
	}()
	for _, server := range c.servers {
		if !w.has(server) {
			continue
		}
		s := newSite(c, server, w, top)
		sites = append(sites, s)
		results = append(results, s.result)
		if err := s.attempt(func() error { return s.open(ctx) }); err != nil {
			return results, err
		}
	}
	for round := range c.rounds {
		for i := range sites {
			s := sites[(i+round)%len(sites)]
			if err := s.attempt(func() error { return s.round(ctx, round) }); err != nil {
				return results, err
			}
			if ctx.Err() != nil {
				return results, ctx.Err()
			}
		}
	}
	for _, s := range sites {
		if err := s.attempt(func() error { return s.finish(ctx) }); err != nil {
			return results, err
		}
	}
	return results, nil
}

func newSite(c *comparison, server *server, w *workload, top string) *site {
	name := strings.ReplaceAll(server.name, " ", "-")
	return &site{
		comparison: c, server: server, workload: w, result: &result{Server: server.name},
		dir: filepath.Join(top, name, "served"), state: filepath.Join(top, name, "state"),
	}
}

// attempt does a step of a server that still takes part. Only a failure of ours ends the comparison.
func (s *site) attempt(step func() error) error {
	if s.result.Failed != "" {
		return nil
	}
	err := step()
	if err != nil && s.server.ours {
		return fmt.Errorf("%s: %w%s", s.server.name, err, s.said())
	}
	if err != nil {
		s.result.Failed = err.Error()
		fmt.Fprintf(s.comparison.log, "\ncompare: %s: %v%s\n", s.server.name, err, s.said())
	}
	return nil
}

// open makes the directory, starts the server and prepares the workload.
func (s *site) open(ctx context.Context) error {
	for _, dir := range []string{s.dir, s.state} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			return err
		}
	}
	if s.workload.fill != nil {
		if err := s.workload.fill(s); err != nil {
			return err
		}
	}
	if s.server.raw || s.workload.starts {
		return nil
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if s.workload.prepare != nil {
		return s.workload.prepare(ctx, s)
	}
	return nil
}

// round measures one batch of requests.
func (s *site) round(ctx context.Context, round int) error {
	if s.workload.before != nil {
		if err := s.workload.before(s, round); err != nil {
			return err
		}
	}
	var cpu time.Duration
	if s.process != nil {
		s.process.forgetPeak()
		cpu = s.process.cpu()
	}
	batch := s.workload.batch
	if s.server.raw {
		batch = s.workload.raw
	}
	one, err := batch(ctx, s, round)
	if err != nil {
		return err
	}
	if s.process != nil {
		time.Sleep(settle)
		one.cpu = s.process.cpu() - cpu
		one.peak = s.process.memory().peak
	}
	s.result.note(s.workload, one)
	return nil
}

// finish looks whether all is on disk that was acknowledged.
func (s *site) finish(ctx context.Context) error {
	if s.workload.verify != nil {
		return s.workload.verify(ctx, s)
	}
	return nil
}
