package tree

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"slices"
	"strings"

	"golang.org/x/net/webdav"
)

// Patched returns dead properties after some patches, which are done in their order. A property that is set again keeps
// its place. The properties before stay as they are.
func Patched(properties []webdav.Property, patches []webdav.Proppatch) []webdav.Property {
	properties = slices.Clone(properties)
	at := make(map[xml.Name]int, len(properties))
	for i, p := range properties {
		at[p.XMLName] = i
	}
	removed := map[int]bool{}
	for _, patch := range patches {
		for _, p := range patch.Props {
			i, there := at[p.XMLName]
			switch {
			case patch.Remove && there:
				delete(at, p.XMLName)
				removed[i] = true
			case patch.Remove: // to remove a missing property is no error (RFC 4918 §14.23)
			case there:
				properties[i] = p
			default:
				p.XMLName = xml.Name{Space: strings.Clone(p.XMLName.Space), Local: strings.Clone(p.XMLName.Local)}
				at[p.XMLName] = len(properties)
				properties = append(properties, p)
			}
		}
	}
	kept := properties[:0]
	for i, p := range properties {
		if !removed[i] {
			kept = append(kept, p)
		}
	}
	return kept
}

// MaxProperties bounds the dead properties of a resource in bytes: all their values together, and all their names together.
const MaxProperties = 64 << 10

// FitProperties reports whether dead properties are within MaxProperties.
func FitProperties(properties []webdav.Property) bool {
	names, values := 0, 0
	for _, p := range properties {
		names += len(p.XMLName.Space) + len(p.XMLName.Local) + len(p.Lang)
		values += len(p.InnerXML)
	}
	return max(names, values) <= MaxProperties
}

// Described returns the dead properties of a file after the change that Describe makes of them. They stay as they are if
// there is no room for that.
func (o PutOptions) Described(properties []webdav.Property, tag ETag) []webdav.Property {
	if o.Describe != nil {
		if all := Patched(properties, o.Describe(tag)); FitProperties(all) {
			return all
		}
	}
	return properties
}

// SameProperties reports whether two resources have the same dead properties, in any order. That takes no time for each
// pair where the order is the same, as it is in copies.
func SameProperties(a, b []webdav.Property) bool {
	same := func(p, q webdav.Property) bool {
		return p.XMLName == q.XMLName && p.Lang == q.Lang && bytes.Equal(p.InnerXML, q.InnerXML)
	}
	if len(a) != len(b) || slices.EqualFunc(a, b, same) {
		return len(a) == len(b)
	}
	byName := func(p, q webdav.Property) int {
		return cmp.Or(cmp.Compare(p.XMLName.Space, q.XMLName.Space), cmp.Compare(p.XMLName.Local, q.XMLName.Local))
	}
	return slices.EqualFunc(slices.SortedFunc(slices.Values(a), byName), slices.SortedFunc(slices.Values(b), byName), same)
}
