package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/bench/compare"
)

// A scale measures the server where there is much of one kind: members of a collection, files in a tree, connections.
type scale struct {
	bench
	members, copied, idle, busy int
	seconds                     float64

	server *server
	rows   [][2]string
}

// scaleMain is the program with "scale" as its first argument.
func scaleMain(ctx context.Context, args []string) error {
	var s scale
	flags := flag.NewFlagSet("bench scale", flag.ContinueOnError)
	flags.IntVar(&s.members, "members", 200_000, "how many `MEMBERS` the large collection has")
	flags.IntVar(&s.copied, "copied", 100_000, "how many `FILES` are copied and deleted")
	flags.IntVar(&s.idle, "idle", 10_000, "how many idle `CONNECTIONS` there are")
	flags.IntVar(&s.busy, "busy", 1_000, "how many busy `CONNECTIONS` there are beside them")
	flags.Float64Var(&s.seconds, "seconds", 10, "for how many `SECONDS` these are busy")
	flags.StringVar(&s.dir, "dir", "", "serve a new directory below `DIR` (default: where temporary files go)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return s.run(ctx)
}

// The collections that are served.
const (
	small, large, trees = "small", "large", "trees"
	// ofSmall is how many members the small collection has, and perTree each one of the tree that is copied.
	ofSmall, perTree = 10, 1000
)

func (s *scale) run(ctx context.Context) (err error) {
	if s.work, err = os.MkdirTemp(s.dir, "ifmatch-scale-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.work)
	s.binary, s.root = filepath.Join(s.work, "ifmatch"), filepath.Join(s.work, "tree")
	if err := compare.Build(ctx, s.binary, false); err != nil {
		return err
	}
	if err := s.fill(); err != nil {
		return err
	}
	began, all := compare.Load(), fmt.Sprint(s.idle+2*s.busy+100)
	s.tree.hot = []string{small + "/" + memberName(0)}
	if s.server, err = s.start(ctx, "--access-log", "off", "--durability", "none", "--max-connections", all,
		"--max-requests", all); err != nil {
		return err
	}
	err = s.measure(ctx)
	if err = s.server.stop(err); err != nil {
		return err
	}
	fmt.Printf("Load %s at the beginning and %s at the end. `--durability none`, log off.\n\n| what | measured |\n| --- | --- |\n",
		began, compare.Load())
	for _, row := range s.rows {
		fmt.Printf("| %s | %s |\n", row[0], row[1])
	}
	return nil
}

func memberName(i int) string { return fmt.Sprintf("member-%06d", i) }

// fill makes the collections.
func (s *scale) fill() error {
	fill := func(dir string, n int) error {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		for i := range n {
			if err := os.WriteFile(filepath.Join(dir, memberName(i)), []byte(dir), 0o666); err != nil {
				return err
			}
		}
		return nil
	}
	err := errors.Join(fill(filepath.Join(s.root, small), ofSmall), fill(filepath.Join(s.root, large), s.members))
	for i := 0; i < s.copied && err == nil; i += perTree {
		err = fill(filepath.Join(s.root, trees, fmt.Sprint(i)), min(perTree, s.copied-i))
	}
	return err
}

func (s *scale) measure(ctx context.Context) error {
	found, err := s.server.settled(ctx)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{s.listings, s.puts, s.copies, s.connections} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	u, err := s.server.usage()
	s.row(fmt.Sprintf("resident at the end, %s files known", count(int(found.Files))), mib(u.resident))
	return err
}

func (s *scale) row(what, measured string) { s.rows = append(s.rows, [2]string{what, measured}) }

// send sends a request, reads the answer to its end, and returns how long that took, and how many bytes it had.
func (s *scale) send(ctx context.Context, method, name, body string, header ...string) (took time.Duration, size int64, err error) {
	r, err := http.NewRequestWithContext(ctx, method, s.server.url+"/"+name, strings.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	began := time.Now()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer answer.Body.Close()
	size, err = io.Copy(io.Discard, answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s", method, name, answer.Status)
	}
	return time.Since(began), size, err
}

const fourProperties = `<propfind xmlns="DAV:"><prop>` +
	`<getetag/><getlastmodified/><getcontentlength/><resourcetype/></prop></propfind>`

// listings lists the large collection. What that adds to the memory of the server is told beside what a small listing
// needs.
func (s *scale) listings(ctx context.Context) error {
	list := func(name string) (took time.Duration, size, peak int64, err error) {
		if err := s.forgetPeak(); err != nil {
			return 0, 0, 0, err
		}
		took, size, err = s.send(ctx, "PROPFIND", name+"/", fourProperties, "Depth", "1")
		u, failed := s.server.usage()
		return took, size, u.peak, errors.Join(err, failed)
	}
	_, _, before, err := list(small)
	if err != nil {
		return err
	}
	took, size, peak, err := list(large)
	s.row(fmt.Sprintf("PROPFIND of %s members", count(s.members)), fmt.Sprintf("%s, %.1f µs for each; %s sent; peak memory "+
		"%s, and %s for a listing of %d", ms(took), float64(took.Microseconds())/float64(s.members), mib(size>>10), mib(peak),
		mib(before), ofSmall))
	return err
}

// forgetPeak begins the peak of the memory of the server anew.
func (s *scale) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.server.cmd.Process.Pid), []byte("5"), 0o200)
}

// puts writes new files into the large and the small collection in turn.
func (s *scale) puts(ctx context.Context) error {
	const each = 300
	var times [2][]time.Duration
	for i := range each {
		for k, dir := range []string{large, small} {
			took, _, err := s.send(ctx, http.MethodPut, fmt.Sprintf("%s/new-%d", dir, i), "content")
			if err != nil {
				return err
			}
			times[k] = append(times[k], took)
		}
	}
	in, beside := median(times[0]), median(times[1])
	s.row(fmt.Sprintf("PUT of a new file among %s", count(s.members)),
		fmt.Sprintf("%.2f × one among %d (%d µs)", in.Seconds()/beside.Seconds(), ofSmall, beside.Microseconds()))
	return nil
}

// copies copies and deletes a tree, beside cp and rm.
func (s *scale) copies(ctx context.Context) error {
	command := func(args ...string) (time.Duration, error) {
		began := time.Now()
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = s.work
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return time.Since(began), err
	}
	plain, err := command("cp", "-r", filepath.Join(s.root, trees), "copied")
	if err != nil {
		return err
	}
	took, _, err := s.send(ctx, "COPY", trees+"/", "", "Destination", s.server.url+"/copy/")
	if err != nil {
		return err
	}
	s.row(fmt.Sprintf("COPY of %s files", count(s.copied)),
		fmt.Sprintf("%.1f s, %.2f × `cp -r`", took.Seconds(), took.Seconds()/plain.Seconds()))
	if plain, err = command("rm", "-r", "copied"); err != nil {
		return err
	}
	took, _, err = s.send(ctx, http.MethodDelete, "copy/", "")
	s.row(fmt.Sprintf("DELETE of %s files, into the history", count(s.copied)),
		fmt.Sprintf("%s; `rm -r` takes %s", ms(took), ms(plain)))
	return err
}
