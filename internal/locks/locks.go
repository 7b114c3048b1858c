// Package locks is the command ifmatch locks. It lists the WebDAV locks of a tree, and breaks them.
package locks

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Store has locks that the command can work on.
type Store interface {
	tree.Store
	io.Closer
}

// An Opener opens the tree of a served directory.
type Opener func(dir string, readOnly bool) (Store, error)

// Command returns the command. A running server notices at its next request.
func Command(misused cli.OnUsageErrorFunc, open Opener) *cli.Command {
	return helptext.Group(misused, "locks", "list or break the WebDAV locks of a served directory", helptext.AsOwner,
		&cli.Command{
			Name:         "list",
			Usage:        "print the locks: token, path, kind, depth, expiry, owner",
			ArgsUsage:    "[DIR]",
			OnUsageError: misused,
			Flags:        database.Choice(),
			Action: func(c *cli.Context) error {
				opened, rest, err := treeOf(c, open)
				if err == nil && (opened == nil || len(rest) > 0) {
					err = usage.Errorf("name the served directory, or a database: ifmatch locks list DIR")
				}
				if err != nil {
					return err
				}
				return listLocks(c.Context, opened, c.App.Writer)
			},
		},
		&cli.Command{
			Name:         "break",
			Usage:        "end locks, by token or by the path they are on, without asking their owners",
			ArgsUsage:    "[DIR] TOKEN|/PATH...",
			OnUsageError: misused,
			Flags:        database.Choice(),
			Action: func(c *cli.Context) error {
				opened, rest, err := treeOf(c, open)
				if err == nil && (opened == nil || len(rest) == 0) {
					err = usage.Errorf("name the directory, or a database, and the locks: ifmatch locks break DIR TOKEN|/PATH...")
				}
				if err != nil {
					return err
				}
				return breakLocks(c.Context, opened, c.App.Writer, rest)
			},
		},
	)
}

// An opened opens the tree of a command line.
type opened func(readOnly bool) (Store, error)

// treeOf returns the tree that a command line names, and its other arguments. The result is nil if it names none.
func treeOf(c *cli.Context, open Opener) (opened, []string, error) {
	place, err := database.Of(c)
	switch {
	case err != nil:
		return nil, nil, err
	case place.Store != "":
		return func(bool) (Store, error) { return place.Tree(c.Context) }, c.Args().Slice(), nil
	case !c.Args().Present():
		return nil, nil, nil
	}
	dir := c.Args().First()
	return func(readOnly bool) (Store, error) { return open(dir, readOnly) }, c.Args().Tail(), nil
}

func locksOf(ctx context.Context, store tree.Store) (locks []tree.Lock, err error) {
	err = store.Try(ctx, tree.Condition{Names: []string{""}, Check: func(v tree.View) error {
		locks, err = v.Locks("")
		return err
	}})
	slices.SortFunc(locks, func(a, b tree.Lock) int {
		return strings.Compare(a.Root+"\x00"+a.Token, b.Root+"\x00"+b.Token)
	})
	return locks, err
}

func listLocks(ctx context.Context, open opened, w io.Writer) error {
	store, err := open(true)
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

// lineOf returns the columns of a lock.
func lineOf(l tree.Lock) string {
	kind, depth := "exclusive", "0"
	if l.Shared {
		kind = "shared"
	}
	if l.Infinite {
		depth = "infinity"
	}
	return strings.Join([]string{l.Token, fmt.Sprintf("%q", pathOf(l)), kind, depth,
		l.Expires.UTC().Format(time.RFC3339), fmt.Sprintf("%q", ownerText(l))}, "\t")
}

func pathOf(l tree.Lock) string {
	if l.Collection && l.Root != "" {
		return "/" + l.Root + "/"
	}
	return "/" + l.Root
}

// ownerText returns the text in the owner element of a lock.
func ownerText(l tree.Lock) string {
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

// breakLocks ends the named locks. If one of the names is wrong, it ends none.
func breakLocks(ctx context.Context, open opened, w io.Writer, named []string) error {
	store, err := open(false)
	if err != nil {
		return err
	}
	return errors.Join(breakIn(ctx, w, store, named), store.Close())
}

func breakIn(ctx context.Context, w io.Writer, store tree.Store, named []string) error {
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
			return fmt.Errorf("there is no lock %s: list the locks with ifmatch locks list", name)
		}
	}
	for _, l := range chosen {
		if err := store.Unlock(ctx, l.Root, l.Token, tree.Condition{}); err != nil && !errors.Is(err, tree.ErrNoLock) {
			return err
		}
		fmt.Fprintf(w, "broken: %s on %q\n", l.Token, pathOf(l))
	}
	return nil
}
