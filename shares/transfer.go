package shares

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxCopies bounds how often a copy is made anew because its source has changed meanwhile.
const maxCopies = 5

// removalTime bounds the removal of a source, which goes on after its client has gone: else the resource would be left
// at both names.
const removalTime = time.Minute

// A transfer is a COPY or MOVE to another share.
type transfer struct {
	s            *Store
	source, dest place
	from, to     string
	opts         tree.CopyOptions
	move         bool
	memo         *memo
	patient      bool // the destination is not free, or was not: no file is written to it directly
}

// transfer copies or moves a resource to another share.
func (s *Store) transfer(
	ctx context.Context, source, dest place, opts tree.CopyOptions, cond tree.Condition, move bool,
) (state tree.State, created bool, err error) {
	from, to := source.share.outer(source.inner), dest.share.outer(dest.inner)
	cond.Names = append(slices.Clip(cond.Names), from, to)
	t := &transfer{s: s, source: source, dest: dest, from: from, to: to, opts: opts, move: move, memo: s.memo(cond)}
	for range maxCopies {
		state, created, err = t.once(ctx)
		if !errors.Is(err, errAgain) {
			break
		}
	}
	return dest.share.state(state), created, asBusy(err)
}

// once makes the copy, commits it and, for a MOVE, removes the source.
func (t *transfer) once(ctx context.Context) (state tree.State, created bool, err error) {
	found, err := t.begin(ctx)
	if err != nil {
		return tree.State{}, false, err
	}
	if found.Collection {
		return t.collection(ctx)
	}
	return t.file(ctx)
}

// begin looks at both ends and asks the condition, before anything is copied. It returns the source.
func (t *transfer) begin(ctx context.Context) (found tree.State, err error) {
	found, err = t.source.share.Store.Stat(ctx, t.source.inner, tree.ReadOptions{
		TagDeadline: t.s.opts.Now(), Follow: t.source.share.follow(t.memo.cond.Follow),
	})
	switch {
	case err != nil:
		return found, t.source.share.told(err)
	case found.Link:
		return found, errLink
	case t.move && found.Collection && t.source.share.NoHistory:
		return found, errNoHistory
	}
	if err := t.memo.askAhead(ctx, t.dest.share); err != nil {
		return found, err
	}
	return found, t.memo.run(ctx, t.dest.share, func(tree.Condition) error {
		return t.dest.share.Store.Try(ctx, t.memo.condition(t.dest.share, t.shape(nil)))
	})
}

// shape returns a Check of the destination, and of the source as it was the instant before. same, if not nil, says
// whether the source is still the copied version.
func (t *transfer) shape(same func(tree.State) error) tree.Check {
	return func(v tree.View) error {
		over, err := v.State(t.to)
		if err != nil {
			return err
		}
		parent, _ := tree.Split(t.to)
		in, err := v.State(parent)
		switch {
		case err != nil:
			return err
		case !in.Collection:
			return tree.ErrNoParent
		case over.Exists && t.opts.NoOverwrite:
			return tree.ErrExist
		case over.Through:
			return errThrough
		case over.Link && !t.move:
			return errLink
		}
		t.patient = t.patient || over.Exists
		source, err := v.State(t.from)
		switch {
		case err != nil:
			return err
		case !source.Exists:
			return fmt.Errorf("%q: %w", t.from, tree.ErrNotExist)
		case source.Link, source.Through:
			return errLink
		case same != nil:
			return same(source)
		}
		return nil
	}
}

// file copies or moves a file.
func (t *transfer) file(ctx context.Context) (tree.State, bool, error) {
	content, source, err := t.source.share.Store.Open(ctx, t.source.inner,
		tree.ReadOptions{Want: tree.WantTag | tree.WantProperties}, tree.Condition{})
	if errors.Is(err, tree.ErrIsCollection) {
		err = errAgain
	}
	if err != nil {
		return tree.State{}, false, t.source.share.told(err)
	}
	defer content.Close()
	// Both commits compare the tag. A disk without leases may have to read the file for it.
	t.memo.answers[question{kind: askTag, name: t.from}] = answer{}
	var state tree.State
	var created bool
	if t.patient || len(source.Properties) > 0 || source.Executable {
		state, created, err = t.fileInSteps(ctx, content, source)
	} else {
		state, created, err = t.fileAtOnce(ctx, content, source)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	if t.move {
		err = t.removeFile(ctx, source)
	}
	return state, created, err
}

// isCopied returns whether a source is the version that was copied.
func isCopied(copied tree.State) func(tree.State) error {
	return func(now tree.State) error {
		switch {
		case now.Collection || now.Link || now.Through:
			return errAgain
		case now.Tag == "":
			return tree.ErrTagUnknown
		case now.Tag != copied.Tag:
			return errAgain
		}
		return nil
	}
}

// fileAtOnce writes a file without properties to a free name: the write is the commit of the copy.
func (t *transfer) fileAtOnce(
	ctx context.Context, content tree.Content, source tree.State,
) (state tree.State, created bool, err error) {
	put := func() error {
		also := t.shape(isCopied(source))
		cond := t.memo.condition(t.dest.share, func(v tree.View) error {
			err := also(v)
			if err == nil && t.patient {
				err = errAgain // a file that came there would keep its properties
			}
			return err
		})
		state, created, err = copyFile(ctx, content, source, t.dest, t.modified(source), func() error {
			return t.memo.again(ctx)
		}, cond)
		return err
	}
	if err := put(); err != nil {
		return tree.State{}, false, t.failed(err)
	}
	return state, created, nil
}

// modified returns the modification time for the copy of a file.
func (t *transfer) modified(source tree.State) time.Time {
	if t.move && t.opts.Modified.IsZero() {
		return source.Modified
	}
	return t.opts.Modified
}

// fileInSteps makes the copy of a file with its properties under a hidden name, and then gives it its name.
func (t *transfer) fileInSteps(
	ctx context.Context, content tree.Content, source tree.State,
) (state tree.State, created bool, err error) {
	st := t.s.stage(ctx, t.dest.share)
	defer st.discard(ctx)
	if err := st.put(ctx, "", content, source, t.modified(source)); err != nil {
		return tree.State{}, false, t.failed(err)
	}
	return t.commit(ctx, st, isCopied(source))
}

// collection copies or moves a collection.
func (t *transfer) collection(ctx context.Context) (tree.State, bool, error) {
	st := t.s.stage(ctx, t.dest.share)
	defer st.discard(ctx)
	c := &copier{t: t, staged: st, copied: map[string]member{}}
	if err := c.copy(ctx); err != nil {
		return tree.State{}, false, t.failed(err)
	}
	if t.move {
		if _, err := c.unchanged(ctx); err != nil {
			return tree.State{}, false, err
		}
	}
	state, created, err := t.commit(ctx, st, func(now tree.State) error {
		if !now.Collection || now.Link || now.Through {
			return errAgain
		}
		return nil
	})
	if err == nil && t.move {
		err = c.remove(ctx)
	}
	return state, created, err
}

// commit gives a staged copy its name, if the condition is true and the source is still the copied version.
func (t *transfer) commit(
	ctx context.Context, st *staged, same func(tree.State) error,
) (state tree.State, created bool, err error) {
	opts := t.opts
	opts.Shallow = false
	if err := t.memo.again(ctx); err != nil {
		return tree.State{}, false, err
	}
	for range maxRounds {
		cond := t.memo.condition(t.dest.share, t.shape(same))
		state, created, err = t.dest.share.Store.Move(ctx, st.name, t.dest.inner, opts, cond)
		if !errors.Is(err, errAsk) {
			break
		}
		if err := t.memo.resume(ctx); err != nil {
			return tree.State{}, false, err
		}
	}
	if err != nil && !errors.Is(err, tree.ErrUnsure) {
		return tree.State{}, false, t.failed(asBusy(err))
	}
	st.used = true
	return state, created, t.failed(err)
}

// failed returns an error of the destination with the names of the tree. A [tree.MemberError] has them already.
func (t *transfer) failed(err error) error {
	var refused *refusal
	var member *tree.MemberError
	switch {
	case errors.As(err, &refused):
		return refused.err
	case errors.As(err, &member):
		return err // it has the names of the tree already
	}
	return t.dest.share.told(err)
}

// removal returns the condition for the removal of the source: the whole condition again, with the destination as its
// commit has seen it, since the copy has changed it.
func (t *transfer) removal(same func(tree.State) error) (*memo, func() tree.Condition) {
	m := t.s.memo(t.memo.cond)
	maps.Copy(m.answers, t.memo.answers)
	maps.Copy(m.answers, t.memo.decided)
	for q := range m.answers {
		if t.s.place(q.name).share == t.source.share {
			delete(m.answers, q) // it decides now
		}
	}
	return m, func() tree.Condition {
		cond := m.condition(t.source.share, func(v tree.View) error {
			source, err := v.State(t.from)
			switch {
			case err != nil:
				return err
			case !source.Exists:
				return fmt.Errorf("%q: %w", t.from, tree.ErrNotExist)
			}
			return same(source)
		})
		cond.Exact = true
		return cond
	}
}

// maxLooks bounds how often a source is looked at anew because its properties are being changed.
const maxLooks = 3

// quiet looks at the source before its removal until no PROPPATCH runs beside the look.
func (w *patchWatch) quiet(look func() error) error {
	for range maxLooks {
		w.again()
		if err := look(); err != nil {
			return err
		}
		if !w.seen() {
			return nil
		}
	}
	return errPatched
}

// removeFile removes the file that was moved, if it still is the version that was copied.
func (t *transfer) removeFile(ctx context.Context, copied tree.State) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
	defer cancel()
	w := t.s.patches.watch(t.source)
	defer w.end()
	err := w.quiet(func() error {
		now, err := t.source.share.Store.Stat(ctx, t.source.inner, tree.ReadOptions{Want: tree.WantProperties,
			TagDeadline: t.s.opts.Now()})
		if err == nil && !sameProperties(now, copied) {
			err = errPatched
		}
		return err
	})
	if err == nil {
		err = t.remove(ctx, isCopied(copied))
	}
	if err == nil && w.seen() {
		err = t.restoreFile(ctx)
	}
	return t.stayed(err)
}

// restoreFile gives a removed file its name back: a PROPPATCH may have changed it right before.
func (t *transfer) restoreFile(ctx context.Context) error {
	id := ""
	for v, err := range t.source.share.Store.Versions(ctx, t.source.inner, tree.VersionOptions{}) {
		if err != nil {
			return inHistory(err)
		}
		if v.Name == t.source.inner && !v.Collection {
			id = v.ID // the newest is the last
		}
	}
	if id == "" {
		return inHistory(errNotKept)
	}
	opts := tree.RestoreOptions{NoOverwrite: true}
	if _, _, err := t.source.share.Store.Restore(ctx, id, t.source.inner, opts, tree.Condition{}); err != nil {
		return inHistory(err)
	}
	return errPatched
}

// remove removes the source exactly.
func (t *transfer) remove(ctx context.Context, same func(tree.State) error) error {
	m, condition := t.removal(same)
	for range maxRounds {
		err := t.source.share.Store.Remove(ctx, t.source.inner, condition())
		if !errors.Is(err, errAsk) {
			return t.source.share.told(err)
		}
		if err := m.fetch(ctx); err != nil {
			return err
		}
	}
	return tree.ErrBusy
}

// stayed returns the error of a MOVE whose source could not be removed.
func (t *transfer) stayed(err error) error {
	switch {
	case err == nil, errors.Is(err, tree.ErrUnsure):
		return err
	case errors.Is(err, errPatched):
		return bothExist("its properties have changed meanwhile", nil)
	case errors.Is(err, tree.ErrNotExist):
		return &tree.StorageError{Kind: tree.ErrUnsure, Err: err, Hint: "the copy is at the destination, and another " +
			"request has removed or moved the source meanwhile; look where it is now"}
	case errors.Is(err, errAgain):
		return bothExist("it has changed meanwhile", nil) // the copy is not made again: it is there
	}
	return bothExist("it could not be removed any more", err)
}
