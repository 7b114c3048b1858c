package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"ifmatch/etagfs"
	"ifmatch/fs"
	"ifmatch/tree"
)

// locksCommand looks at the WebDAV locks of a directory, and breaks some. It works beside a running server, which sees it
// at the next request.
func locksCommand(misused cli.OnUsageErrorFunc) *cli.Command {
	return group(misused, "locks", "list the WebDAV locks on what is served from DIR, or break some",
		&cli.Command{
			Name:         "list",
			Usage:        "print the locks: token, path, kind, depth, when it ends by itself, owner",
			ArgsUsage:    "DIR",
			OnUsageError: misused,
			Action: func(c *cli.Context) error {
				if c.NArg() != 1 {
					return usagef("name the directory that is served: ifmatch locks list DIR")
				}
				return listLocks(c.Context, c.App.Writer, c.Args().First())
			},
		},
		&cli.Command{
			Name:         "break",
			Usage:        "end locks, by token or by the path they are on; whoever holds one is not asked",
			ArgsUsage:    "DIR TOKEN|/PATH...",
			OnUsageError: misused,
			Action: func(c *cli.Context) error {
				if c.NArg() < 2 {
					return usagef("name the directory and the locks: ifmatch locks break DIR TOKEN|/PATH...")
				}
				return breakLocks(c.Context, c.App.Writer, c.Args().First(), c.Args().Tail())
			},
		},
	)
}

// openServed opens a directory that a server may be serving. One that none has ever served is left as it is.
func openServed(dir string, opts fs.Options) (*etagfs.Store, error) {
	if _, err := os.Stat(filepath.Join(dir, stateName)); errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("nothing has been served from %s yet: name the directory that ifmatch serve was given", dir)
	} else if err != nil {
		return nil, err
	}
	if err := actAsOwner(dir, ""); err != nil {
		return nil, err
	}
	below, err := fs.Open(dir, opts)
	if err != nil {
		return nil, err
	}
	return etagfs.New(below, etagfs.Options{})
}

func locksOf(ctx context.Context, store *etagfs.Store) (locks []tree.Lock, err error) {
	err = store.Try(ctx, func(v tree.View) error {
		locks, err = v.Locks("")
		return err
	})
	slices.SortFunc(locks, func(a, b tree.Lock) int {
		return strings.Compare(a.Root+"\x00"+a.Token, b.Root+"\x00"+b.Token)
	})
	return locks, err
}

func listLocks(ctx context.Context, w io.Writer, dir string) error {
	store, err := openServed(dir, fs.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	locks, err := locksOf(ctx, store)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range locks {
		fmt.Fprintln(out, lineOf(l))
	}
	return errors.Join(err, out.Flush(), store.Close())
}

// lineOf describes a lock in columns.
func lineOf(l tree.Lock) string {
	kind, depth := "exclusive", "0"
	if l.Shared {
		kind = "shared"
	}
	if l.Infinite {
		depth = "infinity"
	}
	return strings.Join([]string{l.Token, fmt.Sprintf("%q", rootOf(l)), kind, depth,
		l.Expires.UTC().Format(time.RFC3339), fmt.Sprintf("%q", ownerOf(l))}, "\t")
}

func rootOf(l tree.Lock) string {
	if l.Collection && l.Root != "" {
		return "/" + l.Root + "/"
	}
	return "/" + l.Root
}

// ownerOf returns the text in what a client said of the owner.
func ownerOf(l tree.Lock) string {
	var text strings.Builder
	for d := xml.NewDecoder(strings.NewReader(l.Owner)); ; {
		token, err := d.Token()
		if err != nil {
			return strings.TrimSpace(text.String())
		}
		if data, ok := token.(xml.CharData); ok {
			text.Write(data)
		}
	}
}

// breakLocks ends the locks that are named, all or none where a name is wrong.
func breakLocks(ctx context.Context, w io.Writer, dir string, named []string) error {
	store, err := openServed(dir, fs.Options{})
	if err != nil {
		return err
	}
	return errors.Join(breakIn(ctx, w, store, named), store.Close())
}

func breakIn(ctx context.Context, w io.Writer, store *etagfs.Store, named []string) error {
	locks, err := locksOf(ctx, store)
	if err != nil {
		return err
	}
	var chosen []tree.Lock
	for _, name := range named {
		found := false
		for _, l := range locks {
			if l.Token == name || strings.HasPrefix(name, "/") && strings.Trim(name, "/") == l.Root {
				chosen, found = append(chosen, l), true
			}
		}
		if !found {
			return fmt.Errorf("there is no lock %s; ifmatch locks list shows those there are", name)
		}
	}
	for _, l := range chosen {
		if err := store.Unlock(ctx, l.Root, l.Token, nil); err != nil && !errors.Is(err, tree.ErrNoLock) {
			return err
		}
		fmt.Fprintf(w, "broken: %s on %q\n", l.Token, rootOf(l))
	}
	return nil
}
