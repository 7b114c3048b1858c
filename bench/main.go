// Bench measures the server on a large tree that it makes. It measures how soon the server answers after a cold and
// after a warm start, which files it hashes again, how fast it hashes all files in comparison with a plain sha256sum of
// the same tree, how much memory it takes by the operating system's count, and how many watches. It prints a table in
// Markdown. bench/README.md tells how to run it. With "compare" as its first argument, it measures the server beside
// other servers instead (package bench/compare). With "scale", it measures large collections and many connections. With
// "cluster", it measures a tree in a database beside one in a directory (package bench/cluster).
//
// Times depend on the machine and on its other work. So the table has ratios if the same run has a measure to compare a
// time with, and no time makes the run fail. A file that is hashed again does not depend on times, and makes Bench exit
// with 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/bench/cluster"
	"r-seed-1f3a754f.example/ifmatch/bench/compare"
	"r-seed-1f3a754f.example/ifmatch/internal/pause"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	others := map[string]func(context.Context, []string) error{
		"scale":   scaleMain,
		"compare": func(ctx context.Context, args []string) error { return compare.Main(ctx, args, os.Stdout, os.Stderr) },
		"cluster": func(ctx context.Context, args []string) error { return cluster.Main(ctx, args, os.Stdout, os.Stderr) },
	}
	if do := others[append(os.Args, "")[1]]; do != nil {
		if err := do(ctx, os.Args[2:]); err != nil && !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	var b bench
	flag.IntVar(&b.files, "files", 100_000, "how many `FILES` the tree has; fifty times as many as directories")
	flag.StringVar(&b.dir, "dir", "", "make the tree in a new directory below `DIR` (default: where temporary files go)")
	flag.IntVar(&b.starts, "starts", 3, "how many `TIMES` each kind of start is measured; the median is told, and the worst")
	flag.BoolVar(&b.drop, "drop", true, "have the kernel drop its caches where something is to be cold, which takes root and slows everybody for a while")
	flag.Parse()
	if flag.NArg() > 0 || b.files < 100 || b.starts < 1 {
		fmt.Fprintln(os.Stderr, "bench: -files is 100 at least, -starts 1, and there is nothing else")
		os.Exit(2)
	}
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A bench is one run. Its results are in report.
type bench struct {
	files  int
	dir    string
	starts int
	drop   bool

	work   string // holds the program and the tree, and is removed at the end
	binary string
	root   string // the served directory
	tree   madeTree
	report report
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.work, err = os.MkdirTemp(b.dir, "ifmatch-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.work)
	b.binary, b.root = filepath.Join(b.work, "ifmatch"), filepath.Join(b.work, "tree")
	if err := compare.Build(ctx, b.binary, false); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"making the tree", b.makeTree},
		{"sha256sum", b.plain},
		{"starting cold", b.cold},
		{"starting warm", b.warm},
		{"moving the tree", b.moved},
		{"serving a hot set", b.hot},
		{"ifmatch index warm", b.command},
	} {
		began := time.Now()
		fmt.Fprintf(os.Stderr, "bench: %s (load %s) … ", step.what, compare.Load())
		if err := step.do(ctx); err != nil {
			fmt.Fprintln(os.Stderr)
			return fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Fprintf(os.Stderr, "%.1f s\n", time.Since(began).Seconds())
	}
	b.report.print(os.Stdout, b.tree)
	if n := b.report.again + b.report.movedAgain; n > 0 {
		return fmt.Errorf("%d files were hashed again that had not changed", n)
	}
	return nil
}

func (b *bench) makeTree(ctx context.Context) (err error) {
	b.report.began = compare.Load()
	if b.tree, err = makeTree(ctx, b.root, b.files); err != nil {
		return err
	}
	// If the file system has no leases, a file is hashed again until its time stamps are older than this.
	return pause.For(ctx, 3*time.Second)
}

// plain takes the measure for comparison: one process that reads each file and hashes it.
func (b *bench) plain(ctx context.Context) error {
	b.forget()
	cmd := exec.CommandContext(ctx, "sh", "-c", "find . -type f -print0 | xargs -0 sha256sum >../sums")
	cmd.Dir = b.root
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	b.report.plain = time.Since(began)
	return nil
}

// cold starts servers with no index. The last one stays until it knows each file and watches each directory.
func (b *bench) cold(ctx context.Context) error {
	for i := range b.starts {
		if err := os.RemoveAll(filepath.Join(b.root, stateName)); err != nil {
			return err
		}
		s, err := b.startTimed(ctx, &b.report.cold, b.forget)
		if err != nil {
			return err
		}
		if i < b.starts-1 {
			if err := s.kill(); err != nil {
				return err
			}
			continue
		}
		found, err := s.settled(ctx)
		if err == nil && found.Files != int64(b.files) {
			err = fmt.Errorf("the server has found %d files of %d", found.Files, b.files)
		}
		if err == nil {
			b.report.warmUp, b.report.hashed = found.took, found.Hashed
			b.report.all, err = s.usage()
		}
		if err := s.stop(err); err != nil {
			return err
		}
	}
	return nil
}

// warm starts servers with an index that has all files: first as after a reboot of the machine, and then again at once.
func (b *bench) warm(ctx context.Context) error {
	for i := range b.starts {
		found, err := b.restart(ctx, &b.report.warmForgotten, b.forget, i == 0)
		if err != nil {
			return err
		}
		if i == 0 {
			b.report.again, b.report.lookedAt = found.Hashed, found.took
		}
	}
	for range b.starts {
		if _, err := b.restart(ctx, &b.report.warm, func() {}, false); err != nil {
			return err
		}
	}
	return nil
}

// restart starts and stops a server. With wait, it stops the server when the server has looked at all files.
func (b *bench) restart(ctx context.Context, into *starts, before func(), wait bool) (found search, err error) {
	s, err := b.startTimed(ctx, into, before)
	if err != nil {
		return found, err
	}
	if wait {
		found, err = s.settled(ctx)
	}
	return found, s.stop(err)
}

// startTimed starts a server, and times the start. It also times the same program with no work to do.
func (b *bench) startTimed(ctx context.Context, into *starts, before func()) (*server, error) {
	before()
	began := time.Now()
	if err := exec.CommandContext(ctx, b.binary, "--version").Run(); err != nil {
		return nil, err
	}
	idle := time.Since(began)
	before()
	s, err := b.start(ctx)
	if err == nil {
		into.idle = append(into.idle, idle)
		into.answer, into.cpu = append(into.answer, s.firstAnswer), append(into.cpu, s.firstCPU)
	}
	return s, err
}

// forget makes later reads come from the disk: of files, directories, inodes and programs.
func (b *bench) forget() {
	if b.drop && dropCaches() == nil {
		b.report.dropped = true
	}
}

// moved renames the served directory, and moves all of its members into a new collection.
func (b *bench) moved(ctx context.Context) error {
	to := filepath.Join(b.work, "moved")
	if err := os.Rename(b.root, to); err != nil {
		return err
	}
	b.root = to
	const inside = "inside"
	top, err := os.ReadDir(b.root)
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(b.root, inside), 0o777); err != nil {
		return err
	}
	for _, e := range top {
		if e.Name() != stateName {
			if err := os.Rename(filepath.Join(b.root, e.Name()), filepath.Join(b.root, inside, e.Name())); err != nil {
				return err
			}
		}
	}
	for i, name := range b.tree.hot {
		b.tree.hot[i] = inside + "/" + name
	}
	found, err := b.restart(ctx, &b.report.moved, func() {}, true)
	b.report.movedAgain = found.Hashed
	return err
}

// hot asks fresh servers for a few files, again and again. One server does no other work. The other one has the default
// settings, with which it also looks at all files and watches all directories.
func (b *bench) hot(ctx context.Context) error {
	for _, h := range []struct {
		into  *usage
		flags []string
	}{{&b.report.hotAlone, []string{"--watch", "off", "--warm-up", "0"}}, {&b.report.hotBeside, nil}} {
		s, err := b.start(ctx, h.flags...)
		if err != nil {
			return err
		}
		if err = s.askFor(ctx, b.tree.hot); err == nil && h.flags == nil {
			if _, err = s.settled(ctx); err == nil {
				err = s.askFor(ctx, b.tree.hot)
			}
		}
		if err == nil {
			*h.into, err = s.usage()
		}
		if err := s.stop(err); err != nil {
			return err
		}
	}
	return nil
}

// command hashes all files by the command line, without a server.
func (b *bench) command(ctx context.Context) error {
	if err := os.RemoveAll(filepath.Join(b.root, stateName)); err != nil {
		return err
	}
	b.forget()
	began := time.Now()
	if out, err := exec.CommandContext(ctx, b.binary, "index", "warm", b.root).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	b.report.command = time.Since(began)
	b.report.ended = compare.Load()
	return nil
}
