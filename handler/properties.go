package handler

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/charset"
	"r-seed-1f3a754f.example/ifmatch/handler/davxml"
	"r-seed-1f3a754f.example/ifmatch/handler/digest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A liveProperty is a property that the server keeps itself (RFC 4918 §2).
type liveProperty struct {
	name xml.Name
	// named says that the property is sent only if the request names it, because it takes time or room. RFC 4918
	// §9.1: clients "can use 'allprop' … in conjunction with 'include'". The mini-redirector of Windows fails at
	// listings beyond 1 MB.
	named bool
	// kept says that a client can set the property. The value is then kept like a dead property, and sent in place of
	// ours.
	kept bool
	want tree.Want
	// value appends the inner XML, which may use the prefix D. ok is false if the resource does not have the
	// property.
	value func(t *propertyRenderer, b []byte, state *tree.State) (inner []byte, ok bool)
}

const (
	apacheSpace    = "http://apache.org/dav/props/"
	ownCloudSpace  = "http://owncloud.org/ns"
	microsoftSpace = "urn:schemas-microsoft-com:"
)

func dav(local string) xml.Name { return xml.Name{Space: "DAV:", Local: local} }

var (
	syncTokenName     = dav("sync-token")
	contentTypeName   = dav("getcontenttype")
	executableName    = xml.Name{Space: apacheSpace, Local: "executable"}
	checksumsName     = xml.Name{Space: ownCloudSpace, Local: "checksums"}
	win32ModifiedName = xml.Name{Space: microsoftSpace, Local: "Win32LastModifiedTime"}
)

// liveProperties are in the order in which they are sent. Those of RFC 4918 §15 are sent to clients that ask for all
// properties, except supportedlock (against §14.2), which is the same for every resource and longer than the others
// together. To add a property, add a row here, and a row in settables if clients can set it.
var liveProperties = []liveProperty{
	{name: dav("resourcetype"), value: func(_ *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
		if s.Collection {
			b = append(b, "<D:collection/>"...)
		}
		return b, true
	}},
	{name: dav("displayname"), kept: true, want: tree.WantProperties,
		value: func(_ *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			_, base := tree.Split(s.Name)
			return davxml.AppendText(b, base), base != ""
		}},
	{name: dav("getcontentlength"), value: size},
	{name: contentTypeName, kept: true, want: tree.WantProperties | tree.WantTag, // the charset is that of a content
		value: func(_ *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			return davxml.AppendText(b, contentType(s)), !s.Collection
		}},
	{name: dav("getetag"), want: tree.WantTag,
		value: func(_ *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			return append(b, s.Tag...), s.Tag != ""
		}},
	{name: dav("getlastmodified"), value: modified},
	{name: dav("creationdate"), value: func(_ *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
		return s.Created.UTC().AppendFormat(b, time.RFC3339), !s.Created.IsZero()
	}},
	{name: dav("lockdiscovery"), want: tree.WantLocks,
		value: func(t *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			return davxml.AppendLocks(b, t.visibleLocks(s), t.Now(), t.rootHref), t.locks()
		}},
	{name: dav("supportedlock"), named: true,
		value: func(t *propertyRenderer, b []byte, _ *tree.State) ([]byte, bool) {
			return append(b, davxml.SupportedLock...), t.locks()
		}},
	// By mod_dav_fs of Apache, for davfs2 and other clients.
	{name: executableName, named: true, value: func(_ *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
		if s.Executable {
			return append(b, 'T'), !s.Collection
		}
		return append(b, 'F'), !s.Collection
	}},
	// RFC 4331.
	{name: dav("quota-available-bytes"), named: true,
		value: func(t *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			_, available, ok := t.quota(s)
			return strconv.AppendInt(b, available, 10), ok
		}},
	{name: dav("quota-used-bytes"), named: true,
		value: func(t *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			used, _, ok := t.quota(s)
			return strconv.AppendInt(b, used, 10), ok
		}},
	// For ownCloud and rclone: "SHA1:… MD5:… SHA256:…".
	{name: checksumsName, named: true, want: tree.WantTag | tree.WantSums,
		value: func(_ *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			sums := digest.Checksums(s)
			b = append(b, `<checksum xmlns="`+ownCloudSpace+`">`...)
			b = append(b, sums...)
			return append(b, "</checksum>"...), sums != ""
		}},
	{name: xml.Name{Space: ownCloudSpace, Local: "size"}, named: true, value: size},
	// With these, rclone and Windows set the modification time, and read it back.
	{name: dav("lastmodified"), named: true,
		value: func(_ *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			return strconv.AppendInt(b, s.Modified.Unix(), 10), !s.Modified.IsZero()
		}},
	{name: win32ModifiedName, named: true, value: modified},
	// RFC 3253 §3.1.3 and §3.1.5, RFC 3744 §5.4.
	{name: dav("supported-method-set"), named: true,
		value: func(t *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			for _, method := range t.methodsOf(t.r, s.Name, s) {
				b = append(b, `<D:supported-method name="`+method+`"/>`...)
			}
			return b, true
		}},
	{name: dav("supported-report-set"), named: true,
		value: func(t *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			if t.feed != nil && s.Collection && !s.Link && s.Resolved == nil {
				b = append(b, "<D:supported-report><D:report><D:sync-collection/></D:report></D:supported-report>"...)
			}
			return b, true
		}},
	// RFC 6578 §4: "a 'DAV:allprop' request … SHOULD NOT return this property".
	{name: syncTokenName, named: true,
		value: func(t *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			token, ok := t.syncToken(s)
			return append(b, token...), ok
		}},
	{name: dav("current-user-privilege-set"), named: true,
		value: func(t *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
			for _, privilege := range t.privileges(s) {
				b = append(b, "<D:privilege><D:"+privilege+"/></D:privilege>"...)
			}
			return b, true
		}},
}

var liveByName = func() map[xml.Name]*liveProperty {
	byName := map[xml.Name]*liveProperty{}
	for i := range liveProperties {
		byName[liveProperties[i].name] = &liveProperties[i]
	}
	return byName
}()

func size(_ *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
	return strconv.AppendInt(b, s.Size, 10), !s.Collection
}

// modified returns the modification time of the store, also one in the future, which Last-Modified must not have.
// Sync clients set it and check it.
func modified(t *propertyRenderer, b []byte, s *tree.State) ([]byte, bool) {
	if last := &t.date; last.ok && last.second == s.Modified.Unix() {
		return append(b, last.text...), true
	}
	start := len(b)
	b, ok := appendDate(b, s.Modified)
	t.date = secondText{s.Modified.Unix(), append(t.date.text[:0], b[start:]...), ok}
	return b, ok
}

// privileges returns the privileges of the principal on a resource (RFC 3744 §3).
func (t *propertyRenderer) privileges(state *tree.State) []string {
	possible := []string{"read", "write", "write-properties", "write-content"}
	switch {
	case t.ReadOnly || state.Fixed || state.Resolved != nil: // nothing is written through a link
		possible = possible[:1]
	case state.Collection:
		possible = append(possible, "bind", "unbind")
	}
	var granted auth.Effects
	for _, effect := range []auth.Effects{auth.List, auth.Read, auth.Create, auth.Replace, auth.Remove, auth.Props} {
		if t.r.mayOf(state, effect) {
			granted |= effect
		}
	}
	names := auth.Privileges(granted)
	return slices.DeleteFunc(possible, func(name string) bool { return !slices.Contains(names, name) })
}

// A propertyRenderer renders the properties that a PROPFIND asks for, of one resource after the other. Its results
// are valid until the next call.
type propertyRenderer struct {
	*server
	r      *request // nil: for paths above the tree, of which only the name is known
	wanted davxml.Propfind
	named  []*liveProperty // those of wanted.Props and wanted.Include, in that order (nil: not live)
	want   tree.Want
	// render only the type and the name: of paths above the tree, or of collections that only lead to visible names
	nameOnly bool
	token    string // see syncToken

	buffer         []byte
	found, missing []webdav.Property
	state          tree.State         // of the resource that is rendered
	propstats      [2]webdav.Propstat // the result
	date           secondText         // the last one that was written: many members have the same

	unknown map[xml.Name]bool             // those of wanted.Props and wanted.Include that are not live
	dead    map[xml.Name]*webdav.Property // those of unknown that the resource has
	// The approximate bytes so far, and those of them that only report missing properties. omitMissing says that
	// these are not reported any more, see missingFree.
	written, writtenMissing int
	omitMissing             bool
}

// missingFree is how many bytes of missing properties an answer always reports. RFC 4918 §9.1 wants them reported for
// each resource, so that a small request with many names has a huge answer. Above this limit, they are reported only
// as long as they are at most twice as long as the rest. Then they are omitted, as RFC 8144 §2.1 permits for clients
// that prefer it, and a property that is not reported is missing.
const missingFree = 4 << 20

func newPropertyRenderer(s *server, r *request, wanted davxml.Propfind) *propertyRenderer {
	t := &propertyRenderer{server: s, r: r, wanted: wanted}
	t.unknown, t.dead = map[xml.Name]bool{}, map[xml.Name]*webdav.Property{}
	if len(wanted.Props) == 0 {
		t.want = tree.WantTag | tree.WantProperties
	}
	if wanted.AllProp {
		t.want |= tree.WantLocks
	}
	for _, names := range [][]xml.Name{wanted.Props, wanted.Include} {
		for _, name := range names {
			l := liveByName[name]
			if t.named = append(t.named, l); l != nil {
				t.want |= l.want
			} else {
				t.want |= tree.WantProperties
				t.unknown[name] = true
			}
		}
	}
	return t
}

// render returns the properties of a resource (RFC 4918 §9.1): first those that it has, with 200, then the missing
// ones, with 404. Some clients read only the first propstat.
func (t *propertyRenderer) render(of tree.State) []webdav.Propstat {
	t.state = of
	state := &t.state
	t.buffer, t.found, t.missing = t.buffer[:0], t.found[:0], t.missing[:0]
	if t.r != nil {
		t.nameOnly = !t.r.may(state.Name, auth.List) // the collection only leads to visible names
		if !t.r.mayOf(state, auth.Read) {
			state.Tag, state.Sums, state.Properties = "", nil, nil
		}
	}
	clear(t.dead)
	for i := range state.Properties {
		if p := &state.Properties[i]; t.unknown[p.XMLName] && p.XMLName != charset.Name {
			t.dead[p.XMLName] = p
		}
	}
	switch {
	case t.wanted.PropName, t.wanted.AllProp:
		for i := range liveProperties {
			if t.wanted.PropName || !liveProperties[i].named {
				t.live(&liveProperties[i], state)
			}
		}
		for _, p := range state.Properties {
			if liveByName[p.XMLName] == nil && p.XMLName != charset.Name {
				t.found = append(t.found, p)
			}
		}
		for i, name := range t.wanted.Include {
			if l := t.named[i]; l == nil || l.named {
				t.one(name, l, state, true)
			}
		}
	default:
		for i, name := range t.wanted.Props {
			t.one(name, t.named[i], state, false)
		}
	}
	if t.wanted.PropName {
		for i := range t.found {
			t.found[i] = webdav.Property{XMLName: t.found[i].XMLName}
		}
	}
	t.count(state)
	t.propstats = [2]webdav.Propstat{
		{Status: http.StatusOK, Props: t.found},
		{Status: http.StatusNotFound, Props: t.missing},
	}
	return t.propstats[:]
}

// one renders a property that the request names. rendered says that the dead properties have been rendered already.
func (t *propertyRenderer) one(name xml.Name, l *liveProperty, state *tree.State, rendered bool) {
	there := false
	if l != nil {
		there = t.live(l, state)
	} else if p := t.dead[name]; p != nil {
		if there = true; !rendered {
			t.found = append(t.found, *p)
		}
	}
	if !there && !t.omitMissing {
		t.missing = append(t.missing, webdav.Property{XMLName: name})
	}
}

// propertyCost and resourceCost are the approximate bytes of XML around a property, and around a resource.
const propertyCost, resourceCost = 16, 128

// count counts the bytes of a resource, and omits missing properties if there are too many.
func (t *propertyRenderer) count(state *tree.State) {
	cost := func(properties []webdav.Property) (sum int) {
		for i := range properties {
			p := &properties[i]
			sum += propertyCost + len(p.XMLName.Space) + len(p.XMLName.Local) + len(p.InnerXML)
		}
		return sum
	}
	t.written += resourceCost + len(state.Name) + cost(t.found)
	t.writtenMissing += cost(t.missing)
	if t.writtenMissing > missingFree+2*t.written {
		t.omitMissing, t.missing = true, t.missing[:0]
	}
}

func (t *propertyRenderer) live(l *liveProperty, state *tree.State) (ok bool) {
	if l.kept {
		if p := propertyOf(state, l.name); p != nil {
			t.found = append(t.found, *p)
			return true
		}
	}
	start := len(t.buffer)
	b, ok := t.value(l, state)
	if ok {
		t.buffer = b
		t.found = append(t.found, webdav.Property{XMLName: l.name, InnerXML: b[start:len(b):len(b)]})
	}
	return ok
}

// propertyOf returns the property that a client has set; nil if there is none.
func propertyOf(state *tree.State, name xml.Name) *webdav.Property {
	i := slices.IndexFunc(state.Properties, func(p webdav.Property) bool { return p.XMLName == name })
	if i < 0 {
		return nil
	}
	return &state.Properties[i]
}

// value appends the inner XML of a property to the buffer.
func (t *propertyRenderer) value(l *liveProperty, state *tree.State) (b []byte, ok bool) {
	if t.nameOnly && l.name != dav("resourcetype") && l.name != dav("displayname") {
		return nil, false
	}
	return l.value(t, t.buffer, state)
}
