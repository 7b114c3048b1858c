package memtree

import (
	"context"
	"crypto"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/tree"
)

// maxProperties bounds the properties of a resource, and the owner of a lock, in bytes.
const maxProperties = 64 << 10

func sumsOf(content []byte, others ...crypto.Hash) tree.Sums {
	sums := tree.Sums{}
	for _, h := range append(others, crypto.SHA256, crypto.SHA1, crypto.MD5) {
		w := h.New()
		w.Write(content)
		sums[h] = w.Sum(nil)
	}
	return sums
}

// receive reads a body.
func receive(ctx context.Context, body io.Reader, opts tree.PutOptions) ([]byte, error) {
	data, err := io.ReadAll(body)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &tree.BodyError{Err: err}
	case opts.Length >= 0 && int64(len(data)) != opts.Length:
		return nil, &tree.BodyError{Err: fmt.Errorf("it has %d bytes, and %d were announced", len(data), opts.Length)}
	}
	if opts.Verify != nil {
		sums, wanted := sumsOf(data, opts.Hashes...), tree.Sums{}
		for _, h := range append(opts.Hashes, crypto.SHA256) {
			wanted[h] = sums[h]
		}
		err = opts.Verify(wanted)
	}
	return data, err
}

// Put implements [tree.Store].
func (s *Store) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	data, err := receive(ctx, body, opts)
	if err != nil {
		return tree.State{}, false, err
	}
	v := s.look(cond, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	over, _ := s.find(name)
	switch {
	case over != nil && over.members != nil:
		return tree.State{}, false, tree.ErrIsCollection
	case over == nil:
		err = s.hasParent(name)
	}
	if err == nil {
		err = v.ask(cond)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	tag := sumsOf(data).Tag()
	if over == nil || over.tag != tag {
		n := &node{content: data, tag: tag, created: s.opts.Now(), modified: s.next(name, tag), came: s.opts.Now().Unix()}
		if over != nil {
			n.properties, n.executable = over.properties, over.executable
			s.keep(ctx, name, over, "PUT")
		}
		s.set(name, n)
	}
	return s.written(name, opts.Modified), over == nil, nil
}

// written returns the state of what was written, with the modification time that the client wants. mu must be held.
func (s *Store) written(name string, modified time.Time) tree.State {
	n, _ := s.find(name)
	if !modified.IsZero() {
		n.modified = seconds(modified)
	}
	state := s.state(name, 0)
	if modified.IsZero() {
		s.show(state, state.LastModified)
	} else {
		s.show(state, state.Modified)
	}
	return state
}

// Mkdir implements [tree.Store].
func (s *Store) Mkdir(_ context.Context, name string, opts tree.MkdirOptions, cond tree.Condition) (tree.State, error) {
	v := s.look(cond, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, _ := s.find(name); n != nil {
		return tree.State{}, tree.ErrExist
	}
	if err := s.hasParent(name); err != nil {
		return tree.State{}, err
	}
	if err := v.ask(cond); err != nil {
		return tree.State{}, err
	}
	s.set(name, s.collection(opts.Modified))
	return s.state(name, 0), nil
}

// Remove implements [tree.Store].
func (s *Store) Remove(ctx context.Context, name string, cond tree.Condition) error {
	v := s.look(cond, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, _ := s.find(name)
	switch {
	case name == "":
		return tree.ErrPermission
	case n == nil:
		return tree.ErrNotExist
	}
	if err := v.ask(cond); err != nil {
		return err
	}
	s.keep(ctx, name, n, "DELETE")
	s.set(name, nil)
	s.endLocks(name, true)
	return nil
}

// ends looks at both ends of a move or copy. mu must be held.
func (s *Store) ends(from, to string, noOverwrite bool) (source, over *node, err error) {
	source, _ = s.find(from)
	over, _ = s.find(to)
	switch {
	case source == nil:
		err = tree.ErrNotExist
	case from == to:
		err = tree.ErrSame
	case tree.Below(from, to) || tree.Below(to, from):
		err = tree.ErrNested
	case over == nil:
		err = s.hasParent(to)
	case noOverwrite:
		err = tree.ErrExist
	}
	return source, over, err
}

// Move implements [tree.Store].
func (s *Store) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	v := s.look(cond, from, to)
	s.mu.Lock()
	defer s.mu.Unlock()
	source, over, err := s.ends(from, to, opts.NoOverwrite)
	if err == nil {
		err = v.ask(cond)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	s.set(from, nil)
	s.endLocks(from, true)
	s.replace(ctx, to, over, source, "MOVE")
	return s.written(to, opts.Modified), over == nil, nil
}

// Copy implements [tree.Store].
func (s *Store) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	v := s.look(cond, from, to)
	s.mu.Lock()
	defer s.mu.Unlock()
	source, over, err := s.ends(from, to, opts.NoOverwrite)
	if err == nil {
		err = v.ask(cond)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	n := source.copied()
	if opts.Shallow && n.members != nil {
		n.members = map[string]*node{}
	}
	n.created = s.opts.Now()
	if n.members == nil {
		n.modified = s.next(to, n.tag)
	}
	s.replace(ctx, to, over, n, "COPY")
	return s.written(to, opts.Modified), over == nil, nil
}

// replace gives a name to a node, in place of what was there. mu must be held.
func (s *Store) replace(ctx context.Context, name string, over, n *node, cause string) {
	if over != nil {
		s.keep(ctx, name, over, cause)
		s.endLocks(name, false)
	}
	n.came = s.opts.Now().Unix()
	s.set(name, n)
	for i := range s.locks {
		if s.locks[i].Root == name {
			s.locks[i].Collection = n.members != nil
		}
	}
}

// PatchProperties implements [tree.Store].
func (s *Store) PatchProperties(_ context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	v := s.look(cond, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, _ := s.find(name)
	switch {
	case n == nil:
		return tree.ErrNotExist
	case n.members != nil && patch.Executable != nil:
		return tree.ErrIsCollection
	}
	if err := v.ask(cond); err != nil {
		return err
	}
	properties, names, values := patched(n.properties, patch.Properties), 0, 0
	for _, p := range properties {
		names, values = names+len(p.XMLName.Space)+len(p.XMLName.Local), values+len(p.InnerXML)
	}
	if names > maxProperties || values > maxProperties {
		return tree.ErrNoSpace
	}
	n.properties = properties
	if patch.Executable != nil {
		n.executable = *patch.Executable
	}
	s.written(name, patch.Modified)
	return nil
}

// patched sets and removes properties in the order of the patch; one that is set again keeps its place.
func patched(properties []webdav.Property, patches []webdav.Proppatch) []webdav.Property {
	properties = slices.Clone(properties)
	for _, patch := range patches {
		for _, p := range patch.Props {
			i := slices.IndexFunc(properties, func(other webdav.Property) bool { return other.XMLName == p.XMLName })
			switch {
			case patch.Remove && i >= 0:
				properties = slices.Delete(properties, i, i+1)
			case patch.Remove: // removing what is not there is no error (RFC 4918 §14.23)
			case i >= 0:
				properties[i] = p
			default:
				p.XMLName = xml.Name{Space: strings.Clone(p.XMLName.Space), Local: strings.Clone(p.XMLName.Local)}
				properties = append(properties, p)
			}
		}
	}
	return properties
}
