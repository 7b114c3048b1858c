package handler

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/handler/davxml"
	"ifmatch/tree"
)

func dav(local string) xml.Name { return xml.Name{Space: "DAV:", Local: local} }

// liveNames are the properties the server keeps itself (RFC 4918 §15), in the order in which they are told.
var liveNames = []xml.Name{
	dav("resourcetype"), dav("displayname"), dav("getcontentlength"), dav("getcontenttype"), dav("getetag"),
	dav("getlastmodified"), dav("creationdate"), dav("supportedlock"), dav("lockdiscovery"),
}

// isLive reports whether the server keeps a property itself, on whatever resource.
func isLive(name xml.Name) bool { return slices.Contains(liveNames, name) }

// isProtected reports whether a property cannot be set. Checksums are not kept for others: they would outlive the content
// they are of.
func isProtected(name xml.Name) bool {
	return isLive(name) || name == xml.Name{Space: "http://owncloud.org/ns", Local: "checksums"}
}

// wantOf says what the store must find out for an answer.
func wantOf(p davxml.Propfind) tree.Want {
	if p.AllProp {
		return tree.WantTag | tree.WantProperties | tree.WantLocks
	}
	if p.PropName {
		return tree.WantTag | tree.WantProperties
	}
	var want tree.Want
	for _, name := range p.Props {
		switch {
		case name == dav("getetag"):
			want |= tree.WantTag
		case name == dav("lockdiscovery"):
			want |= tree.WantLocks
		case !isLive(name):
			want |= tree.WantProperties
		}
	}
	return want
}

// properties returns all properties of a resource, the live ones first.
func (s *server) properties(state tree.State) []webdav.Property {
	_, base := tree.Split(state.Name)
	found := placeProperties(base)
	if !state.Collection {
		found[0].InnerXML = nil // resourcetype
		found = append(found,
			text("getcontentlength", strconv.FormatInt(state.Size, 10)),
			text("getcontenttype", contentType(state.Name)))
		if state.Tag != "" {
			found = append(found, text("getetag", string(state.Tag)))
		}
	}
	found = append(found, text("getlastmodified", lastModified(state)))
	if !state.Created.IsZero() {
		found = append(found, text("creationdate", state.Created.UTC().Format(time.RFC3339)))
	}
	if !s.ReadOnly {
		found = append(found,
			webdav.Property{XMLName: dav("supportedlock"), InnerXML: []byte(davxml.SupportedLock)},
			webdav.Property{XMLName: dav("lockdiscovery"), InnerXML: davxml.LockDiscovery(state.Locks, s.Now(), s.rootHref)})
	}
	return append(found, state.Properties...)
}

// rootHref is the href of a lock's root, of which it is not known what it is.
func (s *server) rootHref(name string) string { return s.href(name, false) }

// placeProperties are those of a collection of which nothing but its name is known.
func placeProperties(base string) []webdav.Property {
	found := []webdav.Property{{XMLName: dav("resourcetype"), InnerXML: []byte("<D:collection/>")}}
	if base != "" {
		found = append(found, text("displayname", base))
	}
	return found
}

func text(local, value string) webdav.Property {
	return webdav.Property{XMLName: dav(local), InnerXML: davxml.Text(value)}
}

// answer picks from the properties of a resource what a PROPFIND asks for (RFC 4918 §9.1): found ones with 200 first,
// then the missing ones with 404.
func answer(p davxml.Propfind, all []webdav.Property) []webdav.Propstat {
	found := webdav.Propstat{Status: http.StatusOK}
	missing := webdav.Propstat{Status: http.StatusNotFound}
	switch {
	case p.PropName:
		for _, property := range all {
			found.Props = append(found.Props, webdav.Property{XMLName: property.XMLName})
		}
	case p.AllProp:
		found.Props = all
	default:
		for _, name := range p.Props {
			i := slices.IndexFunc(all, func(q webdav.Property) bool { return q.XMLName == name })
			if i >= 0 {
				found.Props = append(found.Props, all[i])
			} else {
				missing.Props = append(missing.Props, webdav.Property{XMLName: name})
			}
		}
	}
	for _, name := range p.Include {
		// What can be included is told already; only what is not there is left to say.
		if !slices.ContainsFunc(all, func(q webdav.Property) bool { return q.XMLName == name }) {
			missing.Props = append(missing.Props, webdav.Property{XMLName: name})
		}
	}
	return []webdav.Propstat{found, missing}
}
