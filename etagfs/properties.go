package etagfs

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/net/webdav"

	"ifmatch/fs"
	"ifmatch/tree"
)

// maxProperties bounds the values of the dead properties of one resource together, and their names, in bytes.
const maxProperties = 64 << 10

// maxInAttribute is how many bytes of them, as they are kept, are tried to be kept in an attribute. What is more is kept
// beside the tree; so is what has no room there: on ext4 all attributes of a file together have 4 KiB.
const maxInAttribute = 3 << 10

// property is a dead property as it is kept with a file: JSON, in document order.
type property struct {
	Space string `json:"s,omitempty"`
	Local string `json:"n"`
	Lang  string `json:"l,omitempty"`
	Value string `json:"v,omitempty"` // inner XML
}

func (s *Store) properties(name string) ([]webdav.Property, error) {
	s.mu.RLock()
	stored, err := s.fs.Attributes(name)
	s.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	return s.decodeProperties(name, stored)
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
		found[i] = webdav.Property{XMLName: xml.Name{Space: p.Space, Local: p.Local}, Lang: p.Lang, InnerXML: []byte(p.Value)}
	}
	return found, nil
}

func encodeProperties(properties []webdav.Property) ([]byte, error) {
	if len(properties) == 0 {
		return nil, nil
	}
	kept := make([]property, len(properties))
	names, values := 0, 0
	for i, p := range properties {
		kept[i] = property{p.XMLName.Space, p.XMLName.Local, p.Lang, string(p.InnerXML)}
		names += len(p.XMLName.Space) + len(p.XMLName.Local) + len(p.Lang)
		values += len(p.InnerXML)
	}
	if names > maxProperties || values > maxProperties {
		return nil, tree.ErrNoSpace
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // XML is full of what that makes six times as long, and an attribute has little room
	err := e.Encode(kept)
	return b.Bytes(), err
}

// applyPatch sets and removes properties in the order of the patch; one that is set again keeps its place.
func applyPatch(properties []webdav.Property, patches []webdav.Proppatch) []webdav.Property {
	for _, patch := range patches {
		for _, p := range patch.Props {
			i := slices.IndexFunc(properties, func(q webdav.Property) bool { return q.XMLName == p.XMLName })
			switch {
			case patch.Remove && i >= 0:
				properties = slices.Delete(properties, i, i+1)
			case patch.Remove:
				// Removing what is not there is not an error (RFC 4918 §14.23).
			case i >= 0:
				properties[i] = p
			default:
				properties = append(properties, p)
			}
		}
	}
	return properties
}

// PatchProperties implements [tree.Store].
func (s *Store) PatchProperties(ctx context.Context, name string, patch tree.Patch, check tree.Check) error {
	var large []byte // as it will be kept beside, once it is known to be too large for an attribute
	try := func(turn sync.Locker) error {
		var stored []byte
		if large != nil {
			var err error
			if stored, err = s.fs.KeepBeside(name, large); err != nil {
				return translate(err)
			}
		}
		return s.patchOnce(ctx, turn, name, patch, check, &large, stored)
	}
	err := s.insist(func(turn sync.Locker) error {
		err := try(turn)
		if turn == nil && errors.Is(err, errStale) {
			err = try(nil) // what it comes to is only known now, and nobody comes between
		}
		return err
	})
	if err != nil {
		return err
	}
	return unsure(s.fs.SyncFile(name))
}

// patchOnce patches, or fails with errStale where what the properties come to must be kept beside, and says what that is.
// stored is what was made of what it was before.
func (s *Store) patchOnce(ctx context.Context, turn sync.Locker, name string, patch tree.Patch, check tree.Check,
	large *[]byte, stored []byte) error {
	return s.commitIn(ctx, turn, func(v *view) (err error) {
		before, err := v.existing(name)
		if err != nil {
			return err
		}
		switch {
		case before.Kind == fs.Link:
			return fs.ErrLink
		case before.Kind == fs.Directory && patch.Executable != nil:
			return tree.ErrIsCollection
		}
		if err := v.ask(check); err != nil {
			return err
		}
		old, err := s.fs.Attributes(name)
		if err != nil {
			return err
		}
		properties, err := s.decodeProperties(name, old)
		if err != nil {
			return err
		}
		data, err := encodeProperties(applyPatch(properties, patch.Properties))
		if err != nil {
			return err
		}
		beside := stored != nil && bytes.Equal(data, *large)
		if beside {
			data = stored
		} else if len(data) > maxInAttribute && len(patch.Properties) > 0 {
			*large = data
			return errStale
		}
		k, known := s.index.known(before.Fingerprint)
		quiet, end := s.quietly(name, before)
		defer end()
		var undo []func() error // all of it or nothing
		defer func() {
			if err == nil {
				return
			}
			for _, back := range undo {
				err = errors.Join(err, back())
			}
		}()
		if len(patch.Properties) > 0 {
			if err := s.fs.SetAttributes(name, data); fs.IsAttributeFull(err) && !beside {
				*large = data
				return errStale
			} else if err != nil {
				return err
			}
			undo = append(undo, func() error { return s.fs.SetAttributes(name, old) })
		}
		if patch.Executable != nil {
			if err := s.fs.SetExecutable(name, *patch.Executable); err != nil {
				return err
			}
			undo = append(undo, func() error { return s.fs.SetMode(name, before.Mode) })
		}
		now, carried := s.carryKnown(before, name, k, known, quiet)
		if patch.Modified.IsZero() {
			return nil
		}
		after, err := now, errOther
		if known && carried && now.Kind == fs.Regular {
			after, err = s.touch(name, now, patch.Modified, k)
		}
		if errors.Is(err, errOther) {
			after, err = s.fs.SetModified(name, now, patch.Modified, 0)
		}
		if err == nil && after.Kind == fs.Regular {
			tag, _ := s.index.get(after.Fingerprint)
			s.stateOf(name, after, tag, asIs) // the client is told that it has that time
		}
		return err
	})
}
