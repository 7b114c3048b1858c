package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/restored"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/internal/versionat"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The history keeps a collection as it was when it was removed or replaced as a whole. Members that were removed
// separately before, as rclone and rm -r do, have entries of their own and are in no version of the collection. A user
// who restores the collection must be told about them.

func restoreVersion(c *cli.Context, p *arguments) (err error) {
	if !p.at.IsZero() {
		return restoreAt(c, p)
	}
	store, err := p.write(c.Context, helptext.ReportTo(c.App.ErrWriter))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	v, err := p.find(c.Context, store)
	if err != nil {
		return errors.Join(err, p.missingMembers(c.Context, store))
	}
	unchanged, err := unchangedSince(c.Context, store, p.name)
	if err != nil {
		return err
	}
	state, created, err := store.Restore(c.Context, v.ID, p.name, tree.RestoreOptions{}, unchanged)
	if errors.Is(err, tree.ErrSame) {
		err = fmt.Errorf("%s already equals the version of %s: nothing was restored", p.show(p.name), versionat.Stamp(v.Gone))
		return errors.Join(err, p.missingMembers(c.Context, store))
	}
	if err != nil {
		return p.explain(err)
	}
	done := "was restored over the current version"
	if created {
		done = "was restored"
	}
	if state.Tag != "" {
		done += fmt.Sprintf(", with the tag %s", state.Tag)
	}
	fmt.Fprintf(c.App.ErrWriter, "%s %s\n", p.show(p.name), done)
	return p.printContents(c, store, v)
}

// restoreAt brings a name, and everything below it, back to its state at a time.
func restoreAt(c *cli.Context, p *arguments) (err error) {
	if p.at.After(time.Now()) {
		return usage.Errorf("--at %s is in the future", p.at.Format(time.RFC3339))
	}
	store, err := p.write(c.Context, helptext.ReportTo(c.App.ErrWriter))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	result, err := store.RestoreAt(c.Context, p.name, p.at, tree.RestoreAtOptions{DryRun: p.dryRun})
	if err != nil && result.Steps() == 0 {
		return p.explain(err)
	}
	whole := restored.Report{
		Path: p.show(p.name), At: p.at, DryRun: p.dryRun, Restored: result,
		Show: func(name string) string { return printable(p.show(name)) },
		Undo: func(at string) string { return "ifmatch history restore " + p.quoted() + " --at " + at },
	}.Write(c.App.ErrWriter)
	if err == nil && !whole {
		err = errors.New("not everything is what it was: see above")
	}
	return err
}

// printContents prints how many members a restored collection has, and which ones are missing.
func (p *arguments) printContents(c *cli.Context, store tree.Store, v tree.Version) error {
	if !v.Collection {
		return nil
	}
	contents, err := contentsOf(c.Context, store, v)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "  %s, as at %s\n", contents, versionat.Stamp(v.Gone))
	missing, err := p.notRestored(c.Context, store)
	if missing != "" {
		fmt.Fprintf(c.App.ErrWriter, "  %s\n", missing)
	}
	return err
}

// missingMembers returns an error that names separately removed members of a collection without a version to restore,
// or nil if there are none.
func (p *arguments) missingMembers(ctx context.Context, store tree.Store) error {
	missing, err := p.notRestored(ctx, store)
	if missing != "" {
		return errors.New(missing)
	}
	return err
}

var errChanged = errors.New("it changed meanwhile, so nothing was restored: look at it, and try again")

// unchangedSince returns a condition that a name is still as it is now, and that no client has locked it or a member.
func unchangedSince(ctx context.Context, store tree.Store, name string) (tree.Condition, error) {
	before, err := store.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag})
	if err != nil && !errors.Is(err, tree.ErrNotExist) {
		return tree.Condition{}, err
	}
	return tree.Condition{Exact: true, Names: []string{name}, Check: func(v tree.View) error {
		now, err := v.State(name)
		if err != nil {
			return err
		}
		if now.Exists && !now.Collection && now.Tag == "" {
			return tree.ErrTagUnknown
		}
		if now.Exists != before.Exists || now.Collection != before.Collection || now.Tag != before.Tag {
			return errChanged
		}
		locks, err := v.Locks(name)
		if err != nil {
			return err
		}
		for _, lock := range locks {
			return &tree.LockedError{Name: name, Lock: lock}
		}
		return nil
	}}, nil
}

// explain adds advice to an error of the store.
func (p *arguments) explain(err error) error {
	locked := new(tree.LockedError)
	switch {
	case errors.As(err, &locked):
		return fmt.Errorf("a client has locked %s until %s, so nothing was restored: wait, or use ifmatch locks break",
			p.show(locked.Lock.Root), locked.Lock.Expires.Format(time.RFC3339))
	case errors.Is(err, tree.ErrNoParent):
		return fmt.Errorf("the directory of %s does not exist: restore it first, or make it", p.show(p.name))
	}
	return err
}

// contentsOf returns the number of files and directories in a collection, in words.
func contentsOf(ctx context.Context, store tree.Store, v tree.Version) (string, error) {
	files, collections, err := count(ctx, store, v)
	if err != nil {
		return "", err
	}
	if files+collections == 0 {
		return "it is empty", nil
	}
	return "in it: " + number(files, "file", "files") + ", " + number(collections, "directory", "directories"), nil
}

// count returns the number of files and directories in a collection. Links count as files.
func count(ctx context.Context, store tree.Store, v tree.Version) (files, collections int, err error) {
	for m, err := range store.Versions(ctx, "", tree.VersionOptions{Inside: v.ID}) {
		if err != nil {
			return 0, 0, err
		}
		if !m.Collection {
			files++
			continue
		}
		collections++
		f, c, err := count(ctx, store, m)
		if err != nil {
			return 0, 0, err
		}
		files, collections = files+f, collections+c
	}
	return files, collections, nil
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// removedFrom returns the newest version of each member that was removed from a collection separately and does not
// exist now, parents first. If after is not zero, only removals after that time count.
func (p *arguments) removedFrom(ctx context.Context, store tree.Store, after time.Time) ([]tree.Version, error) {
	kept, err := versionsOf(store.Versions(ctx, p.name, tree.VersionOptions{}))
	if err != nil {
		return nil, err
	}
	last := map[string]tree.Version{}
	for _, v := range kept { // the oldest first
		if tree.Below(v.Name, p.name) && v.Gone.After(after) {
			last[v.Name] = v
		}
	}
	var gone []tree.Version
	for path, v := range last {
		if _, err := store.Stat(ctx, path, tree.ReadOptions{}); errors.Is(err, tree.ErrNotExist) {
			gone = append(gone, v)
		}
	}
	slices.SortFunc(gone, func(a, b tree.Version) int {
		return cmp.Or(strings.Count(a.Name, "/")-strings.Count(b.Name, "/"), strings.Compare(a.Name, b.Name))
	})
	return gone, nil
}

// notRestored tells which members of a collection are in no version of it, and how to restore them, or "" if there are
// none.
func (p *arguments) notRestored(ctx context.Context, store tree.Store) (string, error) {
	gone, err := p.removedFrom(ctx, store, p.at)
	if err != nil || len(gone) == 0 {
		return "", err
	}
	first := gone[0].Gone
	for _, v := range gone {
		if v.Gone.Before(first) {
			first = v.Gone
		}
	}
	text := number(len(gone), "file or directory that was removed separately is not in it",
		"files or directories that were removed separately are not in it")
	return fmt.Sprintf("%s; to list them, and to bring all back as of a time:\n"+
		"    ifmatch history list %[2]s\n    ifmatch history restore %[2]s --at %[3]s",
		text, p.quoted(), first.Add(-time.Millisecond).UTC().Format(time.RFC3339Nano)), nil
}

// quoted returns the arguments of a command about the same name.
func (p *arguments) quoted() string {
	if p.place.Store != "" {
		return quoted(p.show(p.name)) + " --store " + quoted(p.place.Store)
	}
	return quoted(p.show(p.name))
}

// quoted quotes a name for a shell, if it needs quotes.
func quoted(name string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("/.-_", r) || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
