package tree

import (
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/net/webdav"
)

// patchedOneByOne is what Patched shall do, by a search for each property.
func patchedOneByOne(properties []webdav.Property, patches []webdav.Proppatch) []webdav.Property {
	properties = slices.Clone(properties)
	for _, patch := range patches {
		for _, p := range patch.Props {
			i := slices.IndexFunc(properties, func(q webdav.Property) bool { return q.XMLName == p.XMLName })
			switch {
			case patch.Remove && i >= 0:
				properties = slices.Delete(properties, i, i+1)
			case patch.Remove:
			case i >= 0:
				properties[i] = p
			default:
				properties = append(properties, p)
			}
		}
	}
	return properties
}

func TestPatchIsWhatEachPropertySays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func(most int) (all []webdav.Property) {
		for range random.IntN(most + 1) {
			all = append(all, webdav.Property{
				XMLName: xml.Name{Space: []string{"", "a", "b"}[random.IntN(3)],
					Local: []string{"x", "y", "z"}[random.IntN(3)]},
				InnerXML: fmt.Append(nil, random.IntN(100)),
			})
		}
		return all
	}
	for range 5000 {
		before := patchedOneByOne(nil, []webdav.Proppatch{{Props: some(9)}}) // each once
		var patches []webdav.Proppatch
		for range random.IntN(5) {
			patches = append(patches, webdav.Proppatch{Remove: random.IntN(2) == 0, Props: some(4)})
		}
		want := patchedOneByOne(before, patches)
		was := slices.Clone(before)
		got := Patched(before, patches)
		if !reflect.DeepEqual(before, was) {
			t.Fatalf("%v became %v", was, before)
		}
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("%v patched by %v is %v, want %v", before, patches, got, want)
		}
	}
}
