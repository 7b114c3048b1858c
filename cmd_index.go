package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/progress"
	"r-seed-1f3a754f.example/ifmatch/internal/runas"
)

// indexCommand looks after the index of tags. It works beside a running server and without one.
func indexCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	stateDir := &cli.PathFlag{Name: "state-dir", Usage: "the --state-dir `DIR` of the server", EnvVars: env("state-dir")}
	jobs := &cli.IntFlag{Name: "jobs", Value: min(8, 2*runtime.NumCPU()), Usage: "`NUMBER` of files to read at once"}
	command := func(name, usage string, flags []cli.Flag, do func(c *cli.Context, x indexArgs) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "DIR", Flags: flags, OnUsageError: misused,
			Action: func(c *cli.Context) error {
				if c.NArg() != 1 {
					return usagef("name one directory: ifmatch index %s DIR", name)
				}
				if c.IsSet("jobs") && (c.Int("jobs") < 1 || c.Int("jobs") > maxWarmUp) {
					return usagef("--jobs %d: give a number from 1 to %d", c.Int("jobs"), maxWarmUp)
				}
				return do(c, indexArgs{
					dir: c.Args().First(), stateDir: c.Path("state-dir"), jobs: c.Int("jobs"),
					stdout: c.App.Writer, stderr: c.App.ErrWriter,
				})
			},
		}
	}
	return helptext.Group(misused, "index", "look after the index of ETags, with or without a running server", helptext.AsOwner,
		command("status", "count the files whose ETags are known, and hash none", []cli.Flag{stateDir},
			func(c *cli.Context, x indexArgs) error { return x.status(c.Context) }),
		command("warm", "hash every file whose ETag is not known", []cli.Flag{stateDir, jobs},
			func(c *cli.Context, x indexArgs) error { return x.warm(c.Context) }),
		command("verify", "read every file, and list those whose content changed without a new time stamp "+
			"(exit status 1; 2 if a file could not be read, 130 if interrupted)", []cli.Flag{stateDir, jobs},
			func(c *cli.Context, x indexArgs) error { return x.verify(c.Context) }),
	)
}

// indexArgs are the arguments of a command about the index of a directory.
type indexArgs struct {
	dir, stateDir  string
	jobs           int
	stdout, stderr io.Writer
}

// with calls do with the opened directory. readOnly: nothing but the index is changed.
func (x indexArgs) with(readOnly bool, do func(*backend) error) error {
	if _, err := statDir(x.dir); err != nil {
		return err
	}
	if err := runas.Owner(x.dir, stateName, x.stateDir); err != nil {
		return err
	}
	store, err := openIndex(x.dir, x.stateDir, readOnly, helptext.ReportTo(x.stderr))
	if err != nil {
		return err
	}
	return errors.Join(do(store), store.Close())
}

// survey counts the files.
func (x indexArgs) survey(ctx context.Context, store *backend) (indexStatus, error) {
	found, err := store.Warmer().Survey(ctx)
	return found, ifInterrupted(err, "after %d files were counted", found.Files)
}

// ifInterrupted replaces the error of a cancelled context by one that tells how much was done.
func ifInterrupted(err error, format string, args ...any) error {
	if errors.Is(err, context.Canceled) {
		return &statusError{fmt.Errorf("interrupted "+format, args...), statusInterrupted}
	}
	return err
}

func (x indexArgs) status(ctx context.Context) error {
	return x.with(true, func(store *backend) error {
		found, err := x.survey(ctx, store)
		if err != nil {
			return err
		}
		fmt.Fprintf(x.stdout, "files     %d (%s)\n", found.Files, progress.Size(found.Bytes))
		fmt.Fprintf(x.stdout, "known     %d (%s)\n", found.Known, progress.Size(found.KnownBytes))
		fmt.Fprintf(x.stdout, "to hash   %d (%s)\n", found.Files-found.Known, progress.Size(found.Bytes-found.KnownBytes))
		if found.Unreadable > 0 {
			fmt.Fprintf(x.stdout, "unreadable %d\n", found.Unreadable)
		}
		if found.Kept {
			fmt.Fprintf(x.stdout, "others    %d (processes that use the index)\n", found.Processes-1)
		} else {
			fmt.Fprintln(x.stdout, "the index cannot be kept on disk: it is lost when the server stops")
		}
		return nil
	})
}

func (x indexArgs) warm(ctx context.Context) error {
	return x.with(false, func(store *backend) error {
		before, err := x.survey(ctx, store)
		if err != nil {
			return err
		}
		if !before.Kept {
			return errors.New("no file was hashed: the index cannot be kept on disk, so the work would be lost")
		}
		files, bytes := before.Files-before.Known, before.Bytes-before.KnownBytes
		meter := progress.New(x.stderr, files, bytes)
		var failed int64
		err = store.Warmer().Warm(ctx, x.jobs, func(r hashResult) {
			meter.Add(r.Size)
			if r.Err != nil {
				failed++
				meter.Printf("%s: %v", r.Name, r.Err)
			}
		})
		meter.End()
		if err != nil {
			return ifInterrupted(err, "after %d of %d files were hashed (%s of %s): run it again to go on from there",
				meter.Files-failed, files, progress.Size(meter.Bytes), progress.Size(bytes))
		}
		fmt.Fprintf(x.stdout, "%s, %d of them hashed (%s)\n",
			progress.Files(before.Files), meter.Files-failed, progress.Size(meter.Bytes))
		return ifUnread(failed)
	})
}

// ifUnread returns an error if some files could not be read.
func ifUnread(failed int64) error {
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d files or directories could not be read: check their permissions and the disk", failed)
}

func (x indexArgs) verify(ctx context.Context) error {
	err := x.with(false, func(store *backend) error { return x.verifyIn(ctx, store) })
	if status := new(statusError); err != nil && !errors.As(err, &status) {
		err = &statusError{err, statusTrouble} // as diff and grep do
	}
	return err
}

func (x indexArgs) verifyIn(ctx context.Context, store *backend) error {
	all, err := x.survey(ctx, store)
	if err != nil {
		return err
	}
	meter := progress.New(x.stderr, all.Files, all.Bytes)
	var changed, unknown, failed int64
	err = store.Warmer().Verify(ctx, x.jobs, func(r hashResult) {
		meter.Add(r.Size)
		switch {
		case r.Err != nil:
			failed++
			meter.Printf("%s: %v", r.Name, r.Err)
		case r.Was == "":
			unknown++
		case r.Was != r.Is:
			changed++
			meter.Clear()
			fmt.Fprintf(x.stdout, "changed: %s (was %s, is %s)\n", r.Name, r.Was, r.Is)
		}
	})
	meter.End()
	read := fmt.Sprintf("%s (%s) read: %d unchanged, %d not known before, "+
		"%d changed without a new time stamp, %d unreadable", progress.Files(meter.Files), progress.Size(meter.Bytes),
		meter.Files-changed-unknown-failed, unknown, changed, failed)
	err = ifInterrupted(err, "before all of %s (%s) was read; %s", progress.Files(all.Files), progress.Size(all.Bytes), read)
	if err == nil {
		fmt.Fprintln(x.stdout, read)
		err = ifUnread(failed)
	}
	if changed > 0 {
		damaged := fmt.Errorf("the content of %s changed, and no time stamp did: "+
			"restore what was lost from a backup, and check the disk", progress.Files(changed))
		return errors.Join(&statusError{damaged, statusChanged}, err)
	}
	return err
}
