package handler

import (
	"bytes"
	"encoding/xml"
	"errors"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/handler/accesslog"
	"ifmatch/handler/davxml"
	"ifmatch/handler/digest"
	"ifmatch/handler/precondition"
	"ifmatch/handler/problem"
	"ifmatch/tree"
)

// proppatch answers PROPPATCH: all of it happens, or nothing (RFC 4918 §9.2).
func (s *server) proppatch(w http.ResponseWriter, r *request) error {
	check := r.check(r.present, precondition.Resource(r.name))
	if err := s.courtesy(r, r.early(check)); err != nil {
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
		o.noTime()
	case errors.Is(err, tree.ErrNoSpace), errors.Is(err, tree.ErrUnsupported):
		accesslog.ExplainFailure(w, http.StatusInsufficientStorage, err)
		o.noRoom()
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

// unchanged: present, with the content that a checksum was compared with.
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

// wantToPatch says what must be known of a resource to judge the patches.
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

// An outcome is what becomes of each property of a PROPPATCH. If one is refused, nothing is changed at all, and the rest
// have failed with it.
type outcome struct {
	patch    tree.Patch
	compared bool // with the content as it was looked at

	protected, unfit, dead, live []webdav.Property      // by name
	full                         bool                   // there is no room for the dead ones
	times                        map[xml.Name]time.Time // that are to be the modification time, of those in live
	why                          string                 // some are unfit, for people; "" where the value says it
}

// outcomeOf judges patches of a resource.
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
			case isType && state.Collection:
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
	// They are one time under several names, and a 200 says of each that it is there.
	o.contradict("the modification time has several names, and is to be one", func(t time.Time) bool {
		return t.Unix() != o.patch.Modified.Unix()
	})
	return o
}

func (o *outcome) refused() bool { return len(o.protected)+len(o.unfit) > 0 }

// noRoom says that the dead properties could not be kept.
func (o *outcome) noRoom() { o.full = true }

// noTime says that the store does not keep the modification time.
func (o *outcome) noTime() {
	o.contradict("no such time can be kept here", func(time.Time) bool { return true })
}

// contradict makes those unfit that set a modification time which cannot be.
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
		// RFC 4331 §6 has the condition.
		kept = webdav.Propstat{Status: webdav.StatusInsufficientStorage, Props: o.dead, XMLError: "<D:quota-not-exceeded/>",
			ResponseDescription: "the properties of a resource together are more than the server keeps (64 KiB), or has room for"}
	} else {
		rest.Props = append(rest.Props, o.dead...) // in one, as some clients read no more than the first
	}
	return []webdav.Propstat{
		{Status: http.StatusForbidden, Props: o.protected, XMLError: "<D:cannot-modify-protected-property/>"},
		{Status: http.StatusConflict, Props: o.unfit, ResponseDescription: o.why},
		kept,
		rest,
	}
}

// settables are the live properties that can be set, or whose value can be confirmed. They report whether the value makes
// sense for the resource.
var settables = map[xml.Name]func(o *outcome, value string, state *tree.State) bool{
	// The modification time, by each client with its own: WinSCP and lftp, rclone and ownCloud, Windows.
	dav("getlastmodified"): setModified(dav("getlastmodified"), http.ParseTime),
	dav("lastmodified"):    setModified(dav("lastmodified"), unixTime),
	win32ModifiedName:      setModified(win32ModifiedName, http.ParseTime),

	executableName: func(o *outcome, value string, state *tree.State) bool {
		yes := value == "T"
		o.patch.Executable = &yes
		return (yes || value == "F") && !state.Collection
	},
	// rclone tells the checksum of what it has just uploaded. It is kept by the content, not for it: only a true one is
	// accepted, as it would outlive the content.
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
		o.times[name], o.patch.Modified = t, t // of several with one name, the last counts
		return true
	}
}

// maxPlain is how long the value of a live property may be, as XML: no date and no list of checksums is longer.
const maxPlain = 4 << 10

// plainText returns the text of an inner XML, without its elements; none of one that is too long.
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
