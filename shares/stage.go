package shares

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Copies are made under a hidden name at the root of the share, stagingPrefix and an identifier, and get their name by
// a MOVE in that share. A copy that a crash leaves there is removed before a later one, once it is a day old: another
// server may be making it.

const (
	// leftoverAge is the age from which a copy is taken for abandoned.
	leftoverAge = 24 * time.Hour
	// sweepPause is the time between two searches of a share for abandoned copies.
	sweepPause = time.Hour
)

// A staged is a copy that is being made.
type staged struct {
	s    *Store
	sh   *share
	name string // in the share
	used bool   // the copy has got its name
}

// stage begins a copy in a share.
func (s *Store) stage(ctx context.Context, sh *share) *staged {
	s.mu.Lock()
	now := s.opts.Now()
	due := now.Sub(sh.swept) >= sweepPause
	if due {
		sh.swept = now
	}
	s.mu.Unlock()
	if due {
		s.sweep(ctx, sh)
	}
	st := &staged{s: s, sh: sh, name: stagingPrefix + rand.Text()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staging[st.name] = true
	return st
}

// discard removes a copy that has not got its name.
func (st *staged) discard(ctx context.Context) {
	st.s.mu.Lock()
	delete(st.s.staging, st.name)
	st.s.mu.Unlock()
	if st.used {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
	defer cancel()
	if err := st.sh.Store.Remove(ctx, st.name, tree.Condition{}); err != nil && !errors.Is(err, tree.ErrNotExist) {
		st.s.opts.Report(fmt.Errorf("a copy that was given up is left as %s in the share %q: %w", st.name, st.sh.Path, err))
	}
}

// sweep removes the copies that a crash has left in a share.
func (s *Store) sweep(ctx context.Context, sh *share) {
	opts := tree.ListOptions{Depth: 1, TagDeadline: s.opts.Now()}
	opts.Show = func(name string, _ *string, _ bool) bool { return isReserved(name) }
	var old []string
	for state, err := range sh.Store.List(ctx, "", opts, tree.Condition{}) {
		s.mu.Lock()
		active := s.staging[state.Name]
		s.mu.Unlock()
		newest := state.Modified
		if state.Created.After(newest) {
			newest = state.Created
		}
		if err == nil && state.Name != "" && !active && s.opts.Now().Sub(newest) > leftoverAge {
			old = append(old, state.Name)
		}
	}
	for _, name := range old {
		if err := sh.Store.Remove(ctx, name, tree.Condition{}); err != nil && !errors.Is(err, tree.ErrNotExist) {
			s.opts.Report(fmt.Errorf("a copy that a crash has left as %s in the share %q stays: %w", name, sh.Path, err))
		}
	}
}

// at returns the name of a member of the copy, "" for the copy itself.
func (st *staged) at(rel string) string {
	if rel == "" {
		return st.name
	}
	return tree.Join(st.name, rel)
}

// put copies a file with its properties.
func (st *staged) put(
	ctx context.Context, rel string, content tree.Content, source tree.State, modified time.Time,
) error {
	_, _, err := copyFile(ctx, content, source, place{share: st.sh, inner: st.at(rel)}, modified, nil, tree.Condition{})
	if err == nil {
		err = st.describe(ctx, rel, source)
	}
	return err
}

// describe gives a member of the copy the properties of its source.
func (st *staged) describe(ctx context.Context, rel string, source tree.State) error {
	var patch tree.Patch
	if len(source.Properties) > 0 {
		patch.Properties = []webdav.Proppatch{{Props: source.Properties}}
	}
	if source.Executable && !source.Collection {
		patch.Executable = &source.Executable
	}
	if patch.Properties == nil && patch.Executable == nil {
		return nil
	}
	return st.sh.Store.PatchProperties(ctx, st.at(rel), patch, tree.Condition{})
}

// copyFile writes an opened file to a place of another share. after, if not nil, is called when the body was read.
func copyFile(
	ctx context.Context, content tree.Content, source tree.State, to place, modified time.Time, after func() error,
	cond tree.Condition,
) (tree.State, bool, error) {
	body := &sourceReader{Reader: io.NewSectionReader(content, 0, source.Size)}
	opts := tree.PutOptions{Modified: modified, Length: source.Size, Verify: func(sums tree.Sums) error {
		if source.Tag != "" && sums.Tag() != source.Tag {
			return errAgain
		}
		if after != nil {
			return after()
		}
		return nil
	}}
	state, created, err := to.share.Store.Put(ctx, to.inner, body, opts, cond)
	switch {
	case body.err != nil && errors.Is(body.err, tree.ErrBusy):
		err = errAgain
	case body.err != nil:
		err = body.err // of this server, and not of a client
	case errors.Is(err, errAsk), errors.As(err, new(*tree.BodyError)): // the file has become shorter
		err = errAgain
	}
	return state, created, err
}

// A sourceReader remembers why its source could not be read.
type sourceReader struct {
	io.Reader
	err error
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// sameProperties reports whether two states have the same properties.
func sameProperties(a, b tree.State) bool {
	return a.Executable == b.Executable && tree.SameProperties(a.Properties, b.Properties)
}
