package etagfs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxInAttribute is the maximum size, in bytes, of encoded properties that the store tries to keep in an attribute. It
// keeps larger ones beside the tree. It also does so if the attribute has no room: on ext4 all attributes of a file
// together have 4 KiB.
const maxInAttribute = 3 << 10

// property is a dead property as it is kept with a file: JSON, in document order.
type property struct {
	Space string `json:"s,omitempty"`
	Local string `json:"n"`
	Lang  string `json:"l,omitempty"`
	Value string `json:"v,omitempty"` // inner XML
}

func (s *Store) decodeProperties(name string, stored []byte) ([]webdav.Property, error) {
	data, err := s.fs.Value(stored)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	var kept []property
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, fmt.Errorf("the properties of %q are damaged: %w", name, err)
	}
	found := make([]webdav.Property, len(kept))
	for i, p := range kept {
		found[i] = webdav.Property{XMLName: xml.Name{Space: p.Space, Local: p.Local}, Lang: p.Lang,
			InnerXML: []byte(p.Value)}
	}
	return found, nil
}

func encodeProperties(properties []webdav.Property) ([]byte, error) {
	if len(properties) == 0 {
		return nil, nil
	}
	if !tree.FitProperties(properties) {
		return nil, tree.ErrNoSpace
	}
	kept := make([]property, len(properties))
	for i, p := range properties {
		kept[i] = property{p.XMLName.Space, p.XMLName.Local, p.Lang, string(p.InnerXML)}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // this would make many characters of XML six times as long, and an attribute has little room
	err := e.Encode(kept)
	return b.Bytes(), err
}

// A patched holds the new properties of a resource. They are made from the old properties before the commit: this takes
// longer the more properties there are, and no other request must wait for it.
type patched struct {
	from, to []byte // as they are kept
	unread   bool   // from is not known
	err      error  // why there is no to (any other error is reported first)
}

// patch makes the new properties of a name from its present properties. It keeps them beside the tree if they have no
// room in an attribute, or if beside is set.
func (s *Store) patch(name string, patches []webdav.Proppatch, beside bool) (p patched) {
	from, err := s.fs.Attributes(name)
	if err != nil {
		return patched{unread: true, err: err}
	}
	properties, err := s.decodeProperties(name, from)
	if err != nil {
		return patched{from: from, err: err}
	}
	to, err := encodeProperties(tree.Patched(properties, patches))
	if err == nil && len(to) > 0 && (beside || len(to) > maxInAttribute) {
		to, err = s.fs.KeepBeside(name, to)
		err = failure.Of(err)
	}
	return patched{from: from, to: to, err: err}
}

// still fails with errStale if the properties have changed since patch read them.
func (p patched) still(at volumes.Place) error {
	now, err := at.Attributes()
	if err == nil && (p.unread || !bytes.Equal(now, p.from)) {
		err = errStale
	}
	return cmp.Or(err, p.err)
}

// PatchProperties implements [tree.Store].
func (s *Store) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	var properties patched
	beside := false // the attribute has no room for properties that are small enough for one
	return s.update(ctx, scopeOf(cond, false, name), func(bool) error {
		if len(patch.Properties) > 0 {
			properties = s.patch(name, patch.Properties, beside)
		}
		return nil
	}, func(t *transaction) error {
		before, err := t.existing(name)
		switch {
		case err != nil:
			return err
		case before.Kind == vfs.Link:
			return vfs.ErrLink
		case before.Kind == vfs.Directory && patch.Executable != nil:
			return tree.ErrIsCollection
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		if len(patch.Properties) > 0 {
			if err := properties.still(t.at(name)); err != nil {
				return err
			}
		}
		tag, _ := t.tag(name, before)
		err = t.tell(telling{cause: "PROPPATCH", name: name, over: before, kind: before.Kind, old: tag, tag: tag})
		if err == nil {
			err = t.patch(name, before, patch, properties)
		}
		if errors.Is(err, vfs.ErrAttribute) && !beside {
			beside = true
			return errStale
		}
		if err != nil {
			return err
		}
		return t.file(name)
	})
}

// patch applies the whole patch, or nothing of it.
func (t *transaction) patch(name string, before vfs.Info, patch tree.Patch, properties patched) (err error) {
	change := t.s.change(name, before, index.AsIs, nil)
	k, known := t.s.index.Lookup(before.Fingerprint)
	quiet, end := t.quietly(name, before)
	defer end()
	defer t.s.fs.OneStep(name)()
	p := t.at(name)
	var undo []func() error
	defer func() {
		if err == nil {
			return
		}
		for _, back := range undo {
			err = errors.Join(err, back())
		}
	}()
	if len(patch.Properties) > 0 {
		if err := p.SetAttributes(properties.to); err != nil {
			return err
		}
		undo = append(undo, func() error { return p.SetAttributes(properties.from) })
	}
	if patch.Executable != nil {
		if err := p.SetExecutable(*patch.Executable); err != nil {
			return err
		}
		undo = append(undo, func() error { return p.SetMode(before.Mode) })
	}
	now, carried := t.carry(before, name, k, known, quiet, change.Same)
	t.feed.Made(name, now, false)
	if patch.Modified.IsZero() {
		return nil
	}
	after, err := now, errOther
	if known && carried && now.Kind == vfs.Regular {
		after, err = t.touch(name, now, patch.Modified, k, change)
	}
	if errors.Is(err, errOther) {
		after, err = p.SetModified(now, patch.Modified, 0)
	}
	if err == nil {
		t.feed.Made(name, after, false)
	}
	if err == nil && after.Kind == vfs.Regular {
		tag, _ := t.s.index.Tag(after.Fingerprint)
		t.s.stateOf(name, after, tag, index.AsIs) // the client is told that the file has that time
	}
	return err
}
