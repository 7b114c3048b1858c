package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"ifmatch/etagfs"
	"ifmatch/fs"
)

// indexCommand looks after the index of known tags. It works beside a running server, or without one.
func indexCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	stateDir := &cli.PathFlag{Name: "state-dir", Usage: "the `DIR` that the server is given for its index", EnvVars: env("state-dir")}
	jobs := &cli.IntFlag{Name: "jobs", Value: min(8, 2*runtime.NumCPU()), Usage: "`NUMBER` of files that are read at once"}
	command := func(name, usage string, flags []cli.Flag, do func(c *cli.Context, x indexOf) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "DIR", Flags: flags, OnUsageError: misused,
			Action: func(c *cli.Context) error {
				if c.NArg() != 1 {
					return usagef("name one directory, after the flags: ifmatch index %s DIR", name)
				}
				if c.IsSet("jobs") && (c.Int("jobs") < 1 || c.Int("jobs") > maxWarmUp) {
					return usagef("--jobs %d: give a number from 1 to %d", c.Int("jobs"), maxWarmUp)
				}
				return do(c, indexOf{dir: c.Args().First(), stateDir: c.Path("state-dir"), jobs: c.Int("jobs"), stdout: c.App.Writer, stderr: c.App.ErrWriter})
			},
		}
	}
	return group(misused, "index", "look after the index of known ETags, beside a running server or without",
		command("status", "count the files whose ETags are known, and hash none", []cli.Flag{stateDir},
			func(c *cli.Context, x indexOf) error { return x.status(c.Context) }),
		command("warm", "hash every file whose ETag is not known", []cli.Flag{stateDir, jobs},
			func(c *cli.Context, x indexOf) error { return x.warm(c.Context) }),
		command("verify", "read every file anew, and find those whose bytes have changed while no time stamp has (exit 1; 2 where a file could not be read, 130 when interrupted)", []cli.Flag{stateDir, jobs},
			func(c *cli.Context, x indexOf) error { return x.verify(c.Context) }),
	)
}

// An indexOf is the index of one directory, and how to work on it.
type indexOf struct {
	dir, stateDir  string
	jobs           int
	stdout, stderr io.Writer
}

// open opens the directory and its index as a server does. To look, nothing is changed but the index; to hash, the state
// directory is needed too, which tells what leases are worth.
func (x indexOf) open(look bool) (*etagfs.Store, error) {
	cfg := Config{Dir: x.dir, StateDir: x.stateDir, ReadOnly: look}
	if _, err := statDir(x.dir); err != nil {
		return nil, err
	}
	if err := actAsOwner(x.dir, x.stateDir); err != nil {
		return nil, err
	}
	below, err := fs.Open(x.dir, fs.Options{ReadOnly: look})
	if !look && (errors.Is(err, iofs.ErrPermission) || errors.Is(err, syscall.EROFS)) && x.stateDir != "" {
		cfg.ReadOnly = true
		below, err = fs.Open(x.dir, fs.Options{ReadOnly: true})
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", x.dir, err)
	}
	place, err := x.place(cfg, below)
	if err != nil {
		return nil, errors.Join(err, below.Close())
	}
	return etagfs.New(below, etagfs.Options{IndexDir: place, Report: func(err error) { fmt.Fprintf(x.stderr, "ifmatch: %v\n", err) }})
}

// place returns where the index is. Who looks makes none.
func (x indexOf) place(cfg Config, below *fs.FS) (string, error) {
	if !cfg.ReadOnly || cfg.StateDir != "" {
		return indexDir(cfg, below)
	}
	place := filepath.Join(x.dir, stateName, "index")
	if _, err := os.Stat(place); err != nil {
		return "", fmt.Errorf("there is no index of %s yet: ifmatch index warm makes one, and so does a server (or is it elsewhere? then give --state-dir)", x.dir)
	}
	return place, nil
}

func (x indexOf) with(look bool, do func(*etagfs.Store) error) error {
	store, err := x.open(look)
	if err != nil {
		return err
	}
	return errors.Join(do(store), store.Close())
}

// survey counts the files.
func (x indexOf) survey(ctx context.Context, store *etagfs.Store) (etagfs.Survey, error) {
	found, err := store.Survey(ctx)
	return found, ifInterrupted(err, "when %d files were counted", found.Files)
}

// ifInterrupted makes of the error of a context one that says how far a work has come that was asked to stop.
func ifInterrupted(err error, format string, args ...any) error {
	if errors.Is(err, context.Canceled) {
		return &statusError{fmt.Errorf("interrupted "+format, args...), statusInterrupted}
	}
	return err
}

func (x indexOf) status(ctx context.Context) error {
	return x.with(true, func(store *etagfs.Store) error {
		found, err := x.survey(ctx, store)
		if err != nil {
			return err
		}
		fmt.Fprintf(x.stdout, "files     %d (%s)\n", found.Files, size(found.Bytes))
		fmt.Fprintf(x.stdout, "known     %d (%s)\n", found.Known, size(found.KnownBytes))
		fmt.Fprintf(x.stdout, "to hash   %d (%s)\n", found.Files-found.Known, size(found.Bytes-found.KnownBytes))
		if found.Unreadable > 0 {
			fmt.Fprintf(x.stdout, "unreadable %d\n", found.Unreadable)
		}
		if found.Kept {
			fmt.Fprintf(x.stdout, "in use by %d other processes\n", found.Processes-1)
		} else {
			fmt.Fprintln(x.stdout, "kept in memory only, until this process ends")
		}
		return nil
	})
}

func (x indexOf) warm(ctx context.Context) error {
	return x.with(false, func(store *etagfs.Store) error {
		before, err := x.survey(ctx, store)
		if err != nil {
			return err
		}
		if !before.Kept {
			return errors.New("the index cannot be kept on disk, and nothing would be left of the work: no file was hashed")
		}
		bar := newProgress(x.stderr, before.Files-before.Known, before.Bytes-before.KnownBytes)
		var failed int
		err = store.Warm(ctx, x.jobs, func(r etagfs.Reading) {
			bar.add(r.Size)
			if r.Err != nil {
				failed++
				bar.say("%s: %v", r.Name, r.Err)
			}
		})
		bar.end()
		if err != nil {
			return ifInterrupted(err, "when %d of %d files were hashed (%s of %s): the next time goes on from there",
				bar.files-int64(failed), bar.allFiles, size(bar.bytes), size(bar.allBytes))
		}
		fmt.Fprintf(x.stdout, "%d files, %d of them hashed (%s)\n", before.Files, bar.files-int64(failed), size(bar.bytes))
		if failed > 0 {
			return fmt.Errorf("%d files or directories could not be read", failed)
		}
		return nil
	})
}

func (x indexOf) verify(ctx context.Context) error {
	err := x.with(false, func(store *etagfs.Store) error {
		all, err := x.survey(ctx, store)
		if err != nil {
			return err
		}
		bar := newProgress(x.stderr, all.Files, all.Bytes)
		var rotten, fresh, failed int
		err = store.Verify(ctx, x.jobs, func(r etagfs.Reading) {
			bar.add(r.Size)
			switch {
			case r.Err != nil:
				failed++
				bar.say("%s: %v", r.Name, r.Err)
			case r.Was == "":
				fresh++
			case r.Was != r.Is:
				rotten++
				bar.clear()
				fmt.Fprintf(x.stdout, "changed: %s (was %s, is %s)\n", r.Name, r.Was, r.Is)
			}
		})
		bar.end()
		read := fmt.Sprintf("%d files (%s) read: %d as they were, %d not known before, %d changed without a time stamp that says so, %d unreadable",
			bar.files, size(bar.bytes), bar.files-int64(rotten+fresh+failed), fresh, rotten, failed)
		err = ifInterrupted(err, "before all %d files (%s) were read; %s", bar.allFiles, size(bar.allBytes), read)
		if err == nil {
			fmt.Fprintln(x.stdout, read)
		}
		switch {
		case rotten > 0:
			changed := fmt.Errorf("%d files have other bytes than before, and the time stamps of before: restore them from a backup, and have the disk checked", rotten)
			return errors.Join(&statusError{changed, statusChanged}, err)
		case err == nil && failed > 0:
			return fmt.Errorf("%d files or directories could not be read", failed)
		}
		return err
	})
	if status := new(statusError); err != nil && !errors.As(err, &status) {
		err = &statusError{err, statusTrouble} // as diff and grep do
	}
	return err
}

// A progress shows how far a long work has come: as a bar on a terminal, else in a line now and then.
type progress struct {
	w            io.Writer
	bar          *progressbar.ProgressBar // nil where there is no terminal
	files, bytes int64
	allFiles     int64
	allBytes     int64
	start, told  time.Time
}

const progressLine = 10 * time.Second

func newProgress(w io.Writer, files, bytes int64) *progress {
	p := &progress{w: w, allFiles: files, allBytes: bytes, start: time.Now(), told: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && files > 0 {
		p.bar = progressbar.NewOptions64(max(1, bytes), progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true),
			progressbar.OptionShowTotalBytes(true), progressbar.OptionUseIECUnits(true), progressbar.OptionSetPredictTime(true),
			progressbar.OptionFullWidth(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return p
}

// add counts a file that was read.
func (p *progress) add(bytes int64) {
	p.files++
	p.bytes += bytes
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%d/%d files", p.files, p.allFiles))
		_ = p.bar.Add64(bytes) // an error to draw is nobody's trouble
		return
	}
	if time.Since(p.told) < progressLine {
		return
	}
	p.told = time.Now()
	rate := float64(p.bytes) / time.Since(p.start).Seconds()
	left := "?"
	if rate > 0 {
		left = time.Duration(float64(p.allBytes-p.bytes) / rate * float64(time.Second)).Round(time.Second).String()
	}
	fmt.Fprintf(p.w, "%d of %d files, %s of %s, %s/s, %s left\n", p.files, p.allFiles, size(p.bytes), size(p.allBytes), size(int64(rate)), left)
}

// say prints a line between.
func (p *progress) say(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
		p.clear()
	}
}

// size writes a number of bytes for people.
func size(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/1024, 0
	for ; value >= 1023.95 && unit < 4; unit++ {
		value /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[unit])
}
