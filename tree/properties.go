package tree

import (
	"encoding/xml"
	"slices"
	"strings"

	"golang.org/x/net/webdav"
)

// Patched returns dead properties after some patches, which are done in their order. A property that is set again keeps
// its place. The properties before stay as they are.
func Patched(properties []webdav.Property, patches []webdav.Proppatch) []webdav.Property {
	properties = slices.Clone(properties)
	for _, patch := range patches {
		for _, p := range patch.Props {
			i := slices.IndexFunc(properties, func(other webdav.Property) bool { return other.XMLName == p.XMLName })
			switch {
			case patch.Remove && i >= 0:
				properties = slices.Delete(properties, i, i+1)
			case patch.Remove: // to remove a missing property is no error (RFC 4918 §14.23)
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
