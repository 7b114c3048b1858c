package handler

import (
	"context"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/auth"
	"ifmatch/handler/davxml"
	"ifmatch/tree"
)

// A live property is one that the server keeps itself (RFC 4918 §2).
type live struct {
	name xml.Name
	// named: it is told only to those who name it, because it takes time or room. RFC 4918 §9.1: clients "can use
	// 'allprop' … in conjunction with 'include'", and the mini-redirector of Windows fails at listings beyond 1 MB.
	named bool
	// kept: a client can set it, to what is then kept like a dead property, and told in place of value.
	kept bool
	want tree.Want
	// value appends the inner XML; ok is false where a resource does not have the property. The XML may use the prefix D.
	value func(t *teller, b []byte, state *tree.State) (inner []byte, ok bool)
}

const (
	apacheSpace    = "http://apache.org/dav/props/"
	ownCloudSpace  = "http://owncloud.org/ns"
	microsoftSpace = "urn:schemas-microsoft-com:"
)

func dav(local string) xml.Name { return xml.Name{Space: "DAV:", Local: local} }

var (
	contentTypeName   = dav("getcontenttype")
	executableName    = xml.Name{Space: apacheSpace, Local: "executable"}
	checksumsName     = xml.Name{Space: ownCloudSpace, Local: "checksums"}
	win32ModifiedName = xml.Name{Space: microsoftSpace, Local: "Win32LastModifiedTime"}
)

// lives are the live properties, in the order in which they are told. What RFC 4918 §15 defines is told to all who ask for
// everything, but for supportedlock (against §14.2), which is the same for every resource and longer than the rest.
var lives = []live{
	{name: dav("resourcetype"), value: func(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
		if s.Collection {
			b = append(b, "<D:collection/>"...)
		}
		return b, true
	}},
	{name: dav("displayname"), kept: true, want: tree.WantProperties, value: func(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
		_, base := tree.Split(s.Name)
		return davxml.AppendText(b, base), base != ""
	}},
	{name: dav("getcontentlength"), value: size},
	{name: contentTypeName, kept: true, want: tree.WantProperties, value: func(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
		return davxml.AppendText(b, contentType(s)), !s.Collection
	}},
	{name: dav("getetag"), want: tree.WantTag, value: func(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
		return append(b, s.Tag...), s.Tag != ""
	}},
	{name: dav("getlastmodified"), value: modified},
	{name: dav("creationdate"), value: func(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
		return s.Created.UTC().AppendFormat(b, time.RFC3339), !s.Created.IsZero()
	}},
	{name: dav("lockdiscovery"), want: tree.WantLocks, value: func(t *teller, b []byte, s *tree.State) ([]byte, bool) {
		if locks := t.toldLocks(s); len(locks) > 0 {
			b = append(b, davxml.LockDiscovery(locks, t.Now(), t.rootHref)...)
		}
		return b, t.locks()
	}},
	{name: dav("supportedlock"), named: true, value: func(t *teller, b []byte, _ *tree.State) ([]byte, bool) {
		return append(b, davxml.SupportedLock...), t.locks()
	}},
	// mod_dav_fs of Apache, for davfs2 and others.
	{name: executableName, named: true, value: func(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
		if s.Executable {
			return append(b, 'T'), !s.Collection
		}
		return append(b, 'F'), !s.Collection
	}},
	// RFC 4331.
	{name: dav("quota-available-bytes"), named: true, value: func(t *teller, b []byte, s *tree.State) ([]byte, bool) {
		_, available, ok := t.quota(s)
		return strconv.AppendInt(b, available, 10), ok
	}},
	{name: dav("quota-used-bytes"), named: true, value: func(t *teller, b []byte, s *tree.State) ([]byte, bool) {
		used, _, ok := t.quota(s)
		return strconv.AppendInt(b, used, 10), ok
	}},
	// ownCloud and rclone: "SHA1:… MD5:… SHA256:…".
	{name: checksumsName, named: true, want: tree.WantTag | tree.WantSums, value: func(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
		sums := checksums(s)
		b = append(b, `<checksum xmlns="`+ownCloudSpace+`">`...)
		b = append(b, sums...)
		return append(b, "</checksum>"...), sums != ""
	}},
	{name: xml.Name{Space: ownCloudSpace, Local: "size"}, named: true, value: size},
	// rclone and Windows set the modification time by these, and read it back.
	{name: dav("lastmodified"), named: true, value: func(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
		return strconv.AppendInt(b, s.Modified.Unix(), 10), !s.Modified.IsZero()
	}},
	{name: win32ModifiedName, named: true, value: modified},
	// RFC 3253 §3.1.3 and §3.1.5, RFC 3744 §5.4.
	{name: dav("supported-method-set"), named: true, value: func(t *teller, b []byte, s *tree.State) ([]byte, bool) {
		for _, method := range t.methodsOf(t.r, s.Name, s) {
			b = append(b, `<D:supported-method name="`+method+`"/>`...)
		}
		return b, true
	}},
	{name: dav("supported-report-set"), named: true, value: func(_ *teller, b []byte, _ *tree.State) ([]byte, bool) {
		return b, true // there is no REPORT
	}},
	{name: dav("current-user-privilege-set"), named: true, value: func(t *teller, b []byte, s *tree.State) ([]byte, bool) {
		for _, privilege := range t.privileges(s) {
			b = append(b, "<D:privilege><D:"+privilege+"/></D:privilege>"...)
		}
		return b, true
	}},
}

var liveByName = func() map[xml.Name]*live {
	byName := map[xml.Name]*live{}
	for i := range lives {
		byName[lives[i].name] = &lives[i]
	}
	return byName
}()

func size(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
	return strconv.AppendInt(b, s.Size, 10), !s.Collection
}

// modified is what the store has, also where that has not come yet, which Last-Modified may not say: clients that sync set it
// and look whether it is there.
func modified(_ *teller, b []byte, s *tree.State) ([]byte, bool) {
	return appendDate(b, s.Modified)
}

// privileges returns what the principal may do with a resource (RFC 3744 §3).
func (t *teller) privileges(state *tree.State) []string {
	possible := []string{"read", "write", "write-properties", "write-content"}
	switch {
	case t.ReadOnly || state.Link:
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

// A teller tells the properties that one PROPFIND asks for, of one resource after the other. What it returns is valid until
// it is asked again.
type teller struct {
	*server
	ctx    context.Context
	wanted davxml.Propfind
	named  []*live // of wanted.Props and wanted.Include, in that order; nil for what is not live
	want   tree.Want
	place  bool   // a path above what is served, of which only the first lives are told
	asked  string // the name that the request is about
	r      *request

	buffer         []byte
	found, missing []webdav.Property

	unknown map[xml.Name]bool             // those of wanted.Props and wanted.Include that are not live
	dead    map[xml.Name]*webdav.Property // of them, those that a resource has
	// What was told so far in bytes, about, and of that what only says that something is missing. leaveOut: that is not told
	// any more, see missingFree.
	told, toldMissing int
	leaveOut          bool
}

// missingFree is how much, in bytes, an answer says at least of what is missing. RFC 4918 §9.1 has that told of each
// resource, so that a small request that names much has an answer without end. More is told only as long as it is not
// more than twice the rest: then it is left out, as RFC 8144 §2.1 has it for who prefers that, and what is not told of is
// missing.
const missingFree = 4 << 20

func newTeller(ctx context.Context, s *server, wanted davxml.Propfind) *teller {
	t := &teller{server: s, ctx: ctx, wanted: wanted, unknown: map[xml.Name]bool{}, dead: map[xml.Name]*webdav.Property{}}
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

// tell returns what is to be told of a resource (RFC 4918 §9.1): what is there with 200 first, then what is missing with
// 404. Some clients read no more than the first.
func (t *teller) tell(state tree.State) []webdav.Propstat {
	t.buffer, t.found, t.missing = t.buffer[:0], t.found[:0], t.missing[:0]
	if t.r != nil {
		t.place = !t.r.may(state.Name, auth.List) // it is on the way to others, and no more is told of it
		if !t.r.mayOf(&state, auth.Read) {
			state.Tag, state.Sums, state.Properties = "", nil, nil
		}
	}
	clear(t.dead)
	for i := range state.Properties {
		if p := &state.Properties[i]; t.unknown[p.XMLName] {
			t.dead[p.XMLName] = p
		}
	}
	switch {
	case t.wanted.PropName:
		for i := range lives {
			if _, ok := t.value(&lives[i], &state); ok || lives[i].kept && propertyOf(&state, lives[i].name) != nil {
				t.found = append(t.found, webdav.Property{XMLName: lives[i].name})
			}
		}
		for _, p := range state.Properties {
			if liveByName[p.XMLName] == nil {
				t.found = append(t.found, webdav.Property{XMLName: p.XMLName})
			}
		}
	case t.wanted.AllProp:
		for i := range lives {
			if !lives[i].named {
				t.live(&lives[i], &state)
			}
		}
		for _, p := range state.Properties {
			if liveByName[p.XMLName] == nil {
				t.found = append(t.found, p)
			}
		}
		for i, name := range t.wanted.Include {
			if l := t.named[i]; l == nil || l.named {
				t.one(name, l, &state, true)
			}
		}
	default:
		if t.leaveOut && len(t.dead) == 0 {
			for _, l := range t.named { // without an Include
				if l != nil {
					t.live(l, &state)
				}
			}
			break
		}
		for i, name := range t.wanted.Props {
			t.one(name, t.named[i], &state, false)
		}
	}
	t.count(&state)
	return []webdav.Propstat{
		{Status: http.StatusOK, Props: t.found},
		{Status: http.StatusNotFound, Props: t.missing},
	}
}

// one tells a property that is asked for by its name, or only that it is missing where the rest is told already.
func (t *teller) one(name xml.Name, l *live, state *tree.State, told bool) {
	there := false
	if l != nil {
		there = t.live(l, state)
	} else if p := t.dead[name]; p != nil {
		if there = true; !told {
			t.found = append(t.found, *p)
		}
	}
	if !there && !t.leaveOut {
		t.missing = append(t.missing, webdav.Property{XMLName: name})
	}
}

// propertyCost is how many bytes of XML there are around a property, and resourceCost around what is told of a resource,
// about.
const propertyCost, resourceCost = 16, 128

// count counts what is told of a resource, and leaves out what is missing where that is too much.
func (t *teller) count(state *tree.State) {
	cost := func(properties []webdav.Property) (sum int) {
		for i := range properties {
			p := &properties[i]
			sum += propertyCost + len(p.XMLName.Space) + len(p.XMLName.Local) + len(p.InnerXML)
		}
		return sum
	}
	t.told += resourceCost + len(state.Name) + cost(t.found)
	t.toldMissing += cost(t.missing)
	if t.toldMissing > missingFree+2*t.told {
		t.leaveOut, t.missing = true, t.missing[:0]
	}
}

// toldLocks returns the locks of a resource as they are told: what a client has said of the owner of one, which may be
// long, once for the lock and not for each member that it covers.
func (t *teller) toldLocks(state *tree.State) []tree.Lock {
	locks := slices.DeleteFunc(slices.Clone(state.Locks), func(l tree.Lock) bool { return !t.r.may(l.Root, auth.List) })
	for i := range locks {
		if state.Name != t.asked && locks[i].Root != state.Name {
			locks[i].Owner = ""
		}
		if !t.r.who.MayUnlock(string(locks[i].Principal), locks[i].Root) {
			locks[i].Token = ""
		}
	}
	return locks
}

func (t *teller) live(l *live, state *tree.State) (ok bool) {
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

// propertyOf returns what a client has set a property to; nil where none has.
func propertyOf(state *tree.State, name xml.Name) *webdav.Property {
	for i := range state.Properties {
		if state.Properties[i].XMLName == name {
			return &state.Properties[i]
		}
	}
	return nil
}

// value appends the inner XML of a property to what has been told so far.
func (t *teller) value(l *live, state *tree.State) (b []byte, ok bool) {
	if t.place && l.name != dav("resourcetype") && l.name != dav("displayname") {
		return nil, false
	}
	return l.value(t, t.buffer, state)
}

// quota returns how much room there is in a collection, where the store knows. RFC 4331 §3 and §4 have it of others too, but
// there clients take what is used for the size of a file (davix).
func (t *teller) quota(state *tree.State) (used, available int64, ok bool) {
	store, ok := t.Store.(tree.Quotas)
	if !ok || !state.Collection || !t.r.who.Subtree("").Has(auth.List) { // the room tells the size of all that is there
		return 0, 0, false
	}
	used, available, err := store.Quota(t.ctx, state.Name)
	return used, available, err == nil
}

// rootHref is the href of a lock's root.
func (s *server) rootHref(l tree.Lock) string { return s.href(l.Root, l.Collection) }

// placePropstats tells of a collection of which nothing but its name is known.
func placePropstats(base string, wanted davxml.Propfind) []webdav.Propstat {
	t := newTeller(context.Background(), &server{}, wanted)
	t.place = true
	return t.tell(tree.State{Name: base, Exists: true, Collection: true})
}
