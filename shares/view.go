package shares

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A kind of question is a method of a [tree.View].
type kind uint8

const (
	askState    kind = iota
	askTag           // the state, with the tag of a file
	askLocks         // those that cover the name, and those below it
	askCovering      // those that cover the name
	askSpelled
	askSince // whether it, or a resource below it, has changed since a cursor
)

// A question is asked by a Check about a name.
type question struct {
	kind  kind
	name  string      // of the whole tree
	since tree.Cursor // of the share
}

// An answer is that of a share.
type answer struct {
	state   tree.State
	locks   []tree.Lock
	spelled string
	changed bool
	err     error
}

// A memo has the answers of other shares, for the Checks of one operation: while the store of a share decides, no other
// store is asked.
type memo struct {
	s       *Store
	cond    tree.Condition
	answers map[question]answer
	// The Check has asked this, and there is no answer yet.
	missing []question
	// decided has the answers of the share that decides, to its last Check.
	decided map[question]answer
}

// maxRounds bounds how often an operation begins anew because its Check has asked other shares more, each time at least
// one name. A Check asks about few names besides those of its condition, which are asked ahead.
const maxRounds = 32

// errAsk says that a Check has a question to another share that was not asked yet.
var errAsk = errors.New("another share has to be asked first")

func (s *Store) memo(cond tree.Condition) *memo {
	return &memo{s: s, cond: cond, answers: map[question]answer{}}
}

// decide runs an operation of a share under a condition. The operation is called again if the condition asks other
// shares.
func (s *Store) decide(
	ctx context.Context, sh *share, cond tree.Condition, operation func(tree.Condition) error,
) error {
	m := s.memo(cond)
	if err := m.askAhead(ctx, sh); err != nil {
		return err
	}
	return m.run(ctx, sh, operation)
}

// ask asks a condition that no share decides. All shares are asked the instant before.
func (s *Store) ask(ctx context.Context, cond tree.Condition) error {
	return s.decide(ctx, nil, cond, func(cond tree.Condition) error {
		err := cond.Ask(nil)
		if errors.Is(err, tree.ErrTagUnknown) {
			err = fmt.Errorf("it asks for a tag that does not exist: %w", tree.ErrBusy)
		}
		return err
	})
}

func (m *memo) run(ctx context.Context, sh *share, operation func(tree.Condition) error) error {
	for range maxRounds {
		err := operation(m.condition(sh, nil))
		if !errors.Is(err, errAsk) {
			return sh.told(err)
		}
		if err := m.resume(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("a condition asks other shares again and again: %w", tree.ErrBusy)
}

// askAhead asks other shares about the names of the condition.
func (m *memo) askAhead(ctx context.Context, sh *share) error {
	for _, name := range m.cond.Names {
		if p := m.s.place(name); p.share != nil && p.share != sh {
			m.missing = append(m.missing, question{kind: askState, name: name}, question{kind: askCovering, name: name})
		}
	}
	return m.fetch(ctx)
}

// condition returns the condition for the store of a share. also, if not nil, is asked about the same view.
func (m *memo) condition(sh *share, also tree.Check) tree.Condition {
	cond := tree.Condition{Exact: m.cond.Exact, Made: m.cond.Made}
	if sh != nil {
		cond.Follow = sh.follow(m.cond.Follow)
	}
	if m.cond.Check == nil && also == nil {
		return cond
	}
	for _, name := range m.cond.Names {
		if p := m.s.place(name); p.share == sh && sh != nil && !isReserved(p.inner) {
			cond.Names = append(cond.Names, p.inner)
		}
	}
	cond.Check = func(in tree.View) error {
		v := &view{m: m, share: sh, in: in}
		m.missing, m.decided = nil, map[question]answer{}
		err := m.cond.Ask(v)
		if err == nil && also != nil {
			err = also(v)
		}
		switch {
		case errors.Is(err, tree.ErrTagUnknown) && len(v.tagless) > 0:
			m.missing = append(m.missing, v.tagless...)
			return errAsk
		case len(m.missing) > 0: // however the Check has gone on without the answer
			return errAsk
		case err == nil, errors.Is(err, tree.ErrTagUnknown):
			return err
		}
		return &refusal{err}
	}
	return cond
}

// ask returns the answer of another share.
func (m *memo) ask(q question) (answer, error) {
	if a, ok := m.answers[q]; ok {
		return a, a.err
	}
	if q.kind == askCovering {
		if a, ok := m.answers[question{kind: askLocks, name: q.name}]; ok {
			covers := func(l tree.Lock) bool { return !l.Covers(q.name) }
			return answer{locks: slices.DeleteFunc(slices.Clone(a.locks), covers)}, a.err
		}
	}
	m.missing = append(m.missing, q)
	return answer{}, errAsk
}

// resume asks the missing questions. After a wait for a tag, which can be long, the other answers are old.
func (m *memo) resume(ctx context.Context) error {
	waits := slices.ContainsFunc(m.missing, func(q question) bool { return q.kind == askTag })
	err := m.fetch(ctx)
	if err == nil && waits {
		err = m.again(ctx)
	}
	return err
}

// again asks the other shares all questions of this operation once more, also those that the last Check had no need
// for: the next one may.
func (m *memo) again(ctx context.Context) error {
	m.missing = slices.Collect(maps.Keys(m.answers))
	return m.fetch(ctx)
}

// fetch asks the other shares the missing questions, each of them once, and waits for the tags that are needed.
func (m *memo) fetch(ctx context.Context) error {
	byShare := map[*share][]question{}
	for _, q := range m.missing {
		p := m.s.place(q.name)
		byShare[p.share] = append(byShare[p.share], q)
	}
	m.missing = nil
	for sh, questions := range byShare {
		var names []string
		for _, q := range questions {
			names = append(names, m.s.place(q.name).inner)
		}
		err := sh.Store.Try(ctx, tree.Condition{Names: names, Follow: sh.follow(m.cond.Follow), Check: func(in tree.View) error {
			for i, q := range questions {
				if err := m.note(sh, in, q, names[i]); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			return sh.told(err)
		}
	}
	return nil
}

// note notes the answer of a share. It fails if the share has to find out a tag.
func (m *memo) note(sh *share, in tree.View, q question, inner string) error {
	a := look(sh, in, q, inner)
	if q.kind == askSince && errors.Is(a.err, tree.ErrTagUnknown) {
		return a.err
	}
	if q.kind == askTag {
		if s := a.state; a.err == nil && s.Exists && !s.Collection && !s.Dead && s.Tag == "" {
			return tree.ErrTagUnknown
		}
		m.answers[question{kind: askState, name: q.name}] = a
	}
	m.answers[q] = a
	return nil
}

// look asks the view of a share.
func look(sh *share, in tree.View, q question, inner string) (a answer) {
	switch q.kind {
	case askState, askTag:
		a.state, a.err = in.State(inner)
		a.state = sh.state(a.state)
	case askLocks:
		a.locks, a.err = in.Locks(inner)
	case askCovering:
		a.locks, a.err = in.Covering(inner)
	case askSpelled:
		a.spelled = sh.outer(tree.Spelled(in, inner))
	case askSince:
		a.changed, a.err = since(in, inner, q.since)
	}
	a.locks = sh.locks(a.locks)
	return a
}

// A view is the tree that a Check sees while the store of a share decides.
type view struct {
	m       *memo
	share   *share // nil: none decides
	in      tree.View
	tagless []question // the tags of other shares that are not known
}

// Committing is that of [tree.Committing]. Where no share decides, nothing is committed.
func (v *view) Committing() bool { return v.in != nil && tree.Committing(v.in) }

var _ tree.FeedView = (*view)(nil)

// ask asks the share of a name.
func (v *view) ask(k kind, name string, p place) (answer, error) {
	return v.askOf(question{kind: k, name: name}, p)
}

func (v *view) askOf(q question, p place) (answer, error) {
	if isReserved(p.inner) {
		return answer{}, reserved(q.name)
	}
	if p.share != v.share {
		return v.m.ask(q)
	}
	a := look(p.share, v.in, q, p.inner)
	v.m.decided[q] = a
	return a, a.err
}

// State implements [tree.View].
func (v *view) State(name string) (tree.State, error) {
	p := v.m.s.place(name)
	switch {
	case p.above != nil:
		return v.m.s.collection(p.above), nil
	case p.share == nil:
		return tree.State{Name: name, Fixed: p.free}, nil
	}
	a, err := v.ask(askState, name, p)
	if s := a.state; p.share != v.share && err == nil && s.Exists && !s.Collection && !s.Dead && s.Tag == "" {
		v.tagless = append(v.tagless, question{kind: askTag, name: name})
	}
	return a.state, err
}

// Locks implements [tree.View].
func (v *view) Locks(name string) ([]tree.Lock, error) {
	p := v.m.s.place(name)
	if p.share != nil {
		a, err := v.ask(askLocks, name, p)
		return a.locks, err
	}
	var all []tree.Lock
	if p.above != nil {
		for sh := range p.above.shares() {
			a, err := v.ask(askLocks, sh.Path, place{share: sh})
			if err != nil {
				return nil, err
			}
			all = append(all, a.locks...)
		}
	}
	return all, nil
}

// Covering implements [tree.View]. No lock is above a share.
func (v *view) Covering(name string) ([]tree.Lock, error) {
	p := v.m.s.place(name)
	if p.share == nil {
		return nil, nil
	}
	a, err := v.ask(askCovering, name, p)
	return a.locks, err
}

// Holds implements [tree.View].
func (v *view) Holds(name, token string) (bool, error) {
	p := v.m.s.place(name)
	if p.share != nil && p.share == v.share && !isReserved(p.inner) {
		held, err := v.in.Holds(p.inner, token)
		if err == nil { // for the Check of a later commit, which does not ask this view
			_, err = v.Covering(name)
		}
		return held, err
	}
	locks, err := v.Covering(name)
	return slices.ContainsFunc(locks, func(l tree.Lock) bool { return l.Token == token }), err
}

// Spelled is called by [tree.Spelled]. Another share is not asked: its names were looked up before.
func (v *view) Spelled(name string) string {
	p := v.m.s.place(name)
	if p.share == nil || p.share != v.share || isReserved(p.inner) {
		return name
	}
	a, _ := v.ask(askSpelled, name, p)
	return a.spelled
}

// SameName is called by [tree.SameName].
func (v *view) SameName(a, b string) bool {
	p, q := v.m.s.place(a), v.m.s.place(b)
	if p.share == nil || p.share != q.share || p.share != v.share {
		return a == b
	}
	return tree.SameName(v.in, p.inner, q.inner)
}
