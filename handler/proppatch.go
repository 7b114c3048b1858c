package handler

import (
	"bytes"
	"encoding/xml"
	"errors"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/charset"
	"r-seed-1f3a754f.example/ifmatch/handler/davxml"
	"r-seed-1f3a754f.example/ifmatch/handler/digest"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/handler/problem"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// proppatch answers PROPPATCH. It makes all changes or none (RFC 4918 §9.2).
func (s *server) proppatch(w http.ResponseWriter, r *request) error {
	check := r.check(r.requirePresent, precondition.Resource(r.name))
	if err := s.courtesy(r, r.beforeBody(check)); err != nil {
		return err
	}
	patches, err := davxml.ReadProppatch(r.Body)
	if err != nil {
		return err
	}
	state, err := s.Store.Stat(r.Context(), r.name, r.reading(wantToPatch(patches)))
	if err != nil {
		return err
	}
	o := outcomeOf(patches, &state)
	if o.refused() {
		err = s.Store.Try(r.Context(), check)
	} else {
		if o.compared {
			check = r.check(r.unchanged(state), precondition.Resource(r.name))
		}
		err = s.Store.PatchProperties(r.Context(), r.name, o.patch, check)
	}
	switch {
	case errors.Is(err, tree.ErrTime):
		o.contradict("the storage cannot keep this time", func(time.Time) bool { return true })
	case errors.Is(err, tree.ErrNoSpace), errors.Is(err, tree.ErrUnsupported):
		accesslog.ExplainFailure(w, http.StatusInsufficientStorage, err)
		o.full = true
	case errors.Is(err, tree.ErrIsCollection):
		return tree.ErrBusy // it was a file a moment ago
	case err != nil:
		return err
	}
	var b bytes.Buffer
	m := davxml.NewMultistatus(&b)
	m.Response(s.href(r.name, state.Collection), o.propstats()...)
	m.Close()
	s.write(w, r, webdav.StatusMulti, problem.XMLType, b.Bytes())
	return nil
}

// unchanged: the resource exists, with the content that the checksum was compared with.
func (r *request) unchanged(state tree.State) func(tree.View) error {
	return func(v tree.View) error {
		now, err := r.found(v)
		switch {
		case err != nil:
			return err
		case now.Tag == "":
			return tree.ErrTagUnknown
		case now.Tag != state.Tag:
			return tree.ErrBusy
		}
		return nil
	}
}

// wantToPatch returns the values of the resource that are needed to judge the patches.
func wantToPatch(patches []webdav.Proppatch) tree.Want {
	for _, patch := range patches {
		for _, p := range patch.Props {
			if p.XMLName == checksumsName && !patch.Remove {
				return liveByName[checksumsName].want
			}
		}
	}
	return 0
}

// An outcome has the result of each property of a PROPPATCH. If one is refused, nothing is changed, and the others
// have failed because of it.
type outcome struct {
	patch    tree.Patch
	compared bool // the patches depend on the content

	protected, unfit, dead, live []webdav.Property      // names, by their results
	full                         bool                   // there is no room for the dead properties
	times                        map[xml.Name]time.Time // of the properties in live that set the modification time
	why                          string                 // why some are unfit, for people ("": by their values)
}

// outcomeOf judges the patches of a resource.
func outcomeOf(patches []webdav.Proppatch, state *tree.State) *outcome {
	o := &outcome{}
	for _, given := range patches {
		dead := webdav.Proppatch{Remove: given.Remove}
		for _, p := range given.Props {
			name := webdav.Property{XMLName: p.XMLName}
			set, settable := settables[p.XMLName]
			l := liveByName[p.XMLName]
			isType, text := p.XMLName == contentTypeName, ""
			if isType {
				text = strings.TrimSpace(plainText(p.InnerXML))
				p.InnerXML, p.Lang = davxml.AppendText(nil, text), ""
			}
			switch {
			case isType && state.Collection, p.XMLName == charset.Name:
				o.protected = append(o.protected, name)
			case isType && !given.Remove && !isContentType(text):
				o.unfit = append(o.unfit, name)
			case l == nil || l.kept:
				dead.Props = append(dead.Props, p)
				o.dead = append(o.dead, name)
			case !settable || given.Remove:
				o.protected = append(o.protected, name)
			case !set(o, strings.TrimSpace(plainText(p.InnerXML)), state):
				o.unfit = append(o.unfit, name)
			default:
				o.live = append(o.live, name)
			}
		}
		if len(dead.Props) > 0 {
			o.patch.Properties = append(o.patch.Properties, dead)
		}
	}
	// They are names of one time, and a 200 says that each of them has its value.
	o.contradict("several properties set different modification times", func(t time.Time) bool {
		return t.Unix() != o.patch.Modified.Unix()
	})
	return o
}

func (o *outcome) refused() bool { return len(o.protected)+len(o.unfit) > 0 }

// contradict makes the properties unfit that set an impossible modification time.
func (o *outcome) contradict(why string, cannotBe func(time.Time) bool) {
	var fit []webdav.Property
	for _, p := range o.live {
		if t, ok := o.times[p.XMLName]; ok && cannotBe(t) {
			o.unfit, o.why = append(o.unfit, p), why
		} else {
			fit = append(fit, p)
		}
	}
	o.live = fit
}

func (o *outcome) propstats() []webdav.Propstat {
	done := http.StatusOK
	if o.refused() || o.full {
		done = webdav.StatusFailedDependency
	}
	rest := webdav.Propstat{Status: done, Props: o.live}
	kept := webdav.Propstat{}
	if o.full {
		// RFC 4331 §6 defines the condition.
		kept = webdav.Propstat{Status: webdav.StatusInsufficientStorage, Props: o.dead, XMLError: "<D:quota-not-exceeded/>",
			ResponseDescription: "all properties of the resource together are larger than the limit (64 KiB), or " +
				"than the room on the storage"}
	} else {
		rest.Props = append(rest.Props, o.dead...) // in one propstat, because some clients read only the first
	}
	return []webdav.Propstat{
		{Status: http.StatusForbidden, Props: o.protected, XMLError: "<D:cannot-modify-protected-property/>"},
		{Status: http.StatusConflict, Props: o.unfit, ResponseDescription: o.why},
		kept,
		rest,
	}
}

// settables are the live properties that a client can set, or whose value it can confirm. Each function reports
// whether the value is possible for the resource.
var settables = map[xml.Name]func(o *outcome, value string, state *tree.State) bool{
	// The modification time. WinSCP and lftp, rclone and ownCloud, and Windows each use another name.
	dav("getlastmodified"): setModified(dav("getlastmodified"), http.ParseTime),
	dav("lastmodified"):    setModified(dav("lastmodified"), unixTime),
	win32ModifiedName:      setModified(win32ModifiedName, http.ParseTime),

	executableName: func(o *outcome, value string, state *tree.State) bool {
		yes := value == "T"
		o.patch.Executable = &yes
		return (yes || value == "F") && !state.Collection
	},
	// rclone sends the checksum of a file that it has just uploaded. It belongs to the content, and is not kept as a
	// property, which would outlive the content. So only a true checksum is accepted.
	checksumsName: func(o *outcome, value string, state *tree.State) bool {
		o.compared = true
		return digest.ConfirmsChecksums(value, state)
	},
}

func setModified(name xml.Name, parse func(string) (time.Time, error)) func(*outcome, string, *tree.State) bool {
	return func(o *outcome, value string, _ *tree.State) bool {
		t, err := parse(value)
		if err != nil || !canBeSaid(t) {
			return false
		}
		if o.times == nil {
			o.times = map[xml.Name]time.Time{}
		}
		o.times[name], o.patch.Modified = t, t // the last one counts
		return true
	}
}

// maxPlain bounds the value of a live property, as XML, in bytes. Dates and lists of checksums are shorter.
const maxPlain = 4 << 10

// plainText returns the text in an inner XML, without elements; "" if it is too long.
func plainText(inner []byte) string {
	var text strings.Builder
	if len(inner) > maxPlain {
		return ""
	}
	for d := xml.NewDecoder(bytes.NewReader(inner)); ; {
		token, err := d.Token()
		if err != nil {
			return text.String()
		}
		if data, ok := token.(xml.CharData); ok {
			text.Write(data)
		}
	}
}

// quota returns the used and the available bytes of a collection, if the store knows them. RFC 4331 §3 and §4 define
// them for files too, but davix takes the used bytes for the size of the file.
//
// A limit, and the room on the storage, tell the size of all that they are about. So each is only told to those who may
// list all of that. The used bytes are those of the innermost limit, and the available ones the least of all.
func (t *propertyRenderer) quota(state *tree.State) (used, available int64, ok bool) {
	if !state.Collection {
		return 0, 0, false
	}
	if limited, is := t.Store.(tree.Limited); is {
		name := state.Name
		if state.Resolved != nil {
			name = *state.Resolved
		}
		for _, a := range limited.Allowances(name) {
			if !t.r.who.Subtree(a.Name).Has(auth.List) {
				continue
			}
			if !ok {
				used, available, ok = a.Used, a.Available, true
			}
			available = min(available, a.Available)
		}
	}
	store, is := t.Store.(tree.Quotas)
	if !is || !t.r.who.Subtree("").Has(auth.List) {
		return used, available, ok
	}
	onDisk, room, err := store.Quota(t.r.Context(), state.Name)
	switch {
	case err != nil:
		return used, available, ok
	case ok:
		return used, min(available, room), true
	}
	return onDisk, room, true
}
