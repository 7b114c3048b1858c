package precondition

import (
	"errors"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A memo is a View for one evaluation. It looks at each name once, even if a header has a thousand lists about it.
type memo struct {
	view     tree.View
	matching Matching
	sight    *Sight
	seen     []seen
	first    [1]seen // room for the first name, which is mostly the only one
	syncs    int     // how many sync tokens were looked at
}

type seen struct {
	name  string
	state tree.State
}

// maxSyncTokens bounds the sync tokens of a request, because the changes since each of them are looked through.
const maxSyncTokens = 16

func (m *memo) State(name string) (tree.State, error) {
	for i := range m.seen { // of a header, up to maxResources
		if m.seen[i].name == name {
			return m.seen[i].state, nil
		}
	}
	s, err := m.view.State(name)
	if err == nil {
		m.seen = append(m.seen, seen{name, s})
	}
	return s, err
}

// Mapped is [memo.State] for a resource in an If header. A resource that no request can see counts as missing. Its
// error would be about another resource than the Request-URI, and would reveal that it exists.
func (m *memo) Mapped(name string) (tree.State, error) {
	if m.hides(tree.State{Name: name}) {
		return tree.State{Name: name}, nil // without a look, whose duration would reveal whether something is there
	}
	s, err := m.State(name)
	if slices.ContainsFunc(unmapped, func(known error) bool { return errors.Is(err, known) }) {
		s, err = tree.State{Name: name}, nil
	}
	if err == nil && m.hides(s) {
		s = tree.State{Name: name}
	}
	return s, err
}

func (m *memo) hides(s tree.State) bool { return m.sight.Hidden != nil && m.sight.Hidden(s) }

// unmapped are the errors of names that no request can see.
var unmapped = []error{tree.ErrReserved, tree.ErrNotServed, tree.ErrNameTooLong}

// isSync reports whether a state token is a sync token.
func (m *memo) isSync(token, name string) bool {
	if m.sight.Cursor == nil {
		return false
	}
	_, is := m.sight.Cursor(token, name)
	return is
}

// unchanged reports whether nothing has changed at a name or below it since a sync token was given out (RFC 6578 §5). A
// token that is not known is false, and so is one about a name to which a link leads: what changes there has another
// name.
func (m *memo) unchanged(token, name string) (tree.Truth, error) {
	if m.syncs++; m.syncs > maxSyncTokens {
		return tree.False, &SyntaxError{Header: "If", Reason: "too many sync tokens"}
	}
	cursor, _ := m.sight.Cursor(token, name)
	view, ok := m.view.(tree.FeedView)
	if !ok || cursor == "" || m.hides(tree.State{Name: name}) {
		return tree.False, nil
	}
	s, err := m.Mapped(name)
	if err != nil || s.Link || s.Through || s.Resolved != nil {
		return tree.False, err
	}
	changed, err := view.Since(name, cursor, nil)
	if errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrUnsupported) {
		return tree.False, nil
	}
	return tree.TruthOf(!changed), err
}

// Holds reports whether a lock with this token covers a name, and whether the token counts from this principal.
func (m *memo) Holds(name, token string) (bool, error) {
	if m.sight.Hidden != nil {
		if m.hides(tree.State{Name: name}) {
			return false, nil
		}
		if s, err := m.State(name); err == nil && m.hides(s) {
			return false, nil
		}
	}
	held, err := m.view.Holds(name, token)
	if !held || m.sight.Foreign == nil {
		return held, err
	}
	locks, err := m.view.Covering(name)
	return slices.ContainsFunc(locks, func(l tree.Lock) bool { return l.Token == token && !m.sight.Foreign(l) }), err
}
