package etagfs

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/net/webdav"

	"ifmatch/fs"
	"ifmatch/tree"
)

// maxProperties bounds what the dead properties of one resource take, in bytes as they are kept.
const maxProperties = 64 << 10

// property is a dead property as it is kept in the attribute of a file: JSON, in document order.
type property struct {
	Space string `json:"s,omitempty"`
	Local string `json:"n"`
	Lang  string `json:"l,omitempty"`
	Value string `json:"v,omitempty"` // inner XML
}

func (s *Store) properties(name string) ([]webdav.Property, error) {
	data, err := s.fs.Attributes(name)
	if err != nil {
		return nil, err
	}
	return decodeProperties(name, data)
}

func decodeProperties(name string, data []byte) ([]webdav.Property, error) {
	if len(data) == 0 {
		return nil, nil
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
	for i, p := range properties {
		kept[i] = property{p.XMLName.Space, p.XMLName.Local, p.Lang, string(p.InnerXML)}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // XML is full of what that makes six times as long, and ext4 has 4 KiB for all of it
	if err := e.Encode(kept); err != nil {
		return nil, err
	}
	if b.Len() > maxProperties {
		return nil, tree.ErrNoSpace
	}
	return b.Bytes(), nil
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
	err := s.commit(ctx, func(v *view) (err error) {
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
		properties, err := decodeProperties(name, old)
		if err != nil {
			return err
		}
		data, err := encodeProperties(applyPatch(properties, patch.Properties))
		if err != nil {
			return err
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
			if err := s.fs.SetAttributes(name, data); err != nil {
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
	if err != nil {
		return err
	}
	return unsure(s.fs.SyncFile(name))
}
