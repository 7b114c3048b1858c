package handler

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/handler/davxml"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// proppatch answers PROPPATCH: all of it happens, or nothing (RFC 4918 §9.2).
func (s *server) proppatch(w http.ResponseWriter, r *request) error {
	check := r.check(r.present, precondition.Resource(r.name))
	if err := s.Store.Try(r.Context(), r.early(check)); err != nil {
		return err
	}
	patches, err := davxml.ReadProppatch(r.Body)
	if err != nil {
		return err
	}
	patch, stats, refused := outcome(patches)
	if refused {
		err = s.Store.Try(r.Context(), check)
	} else {
		err = s.Store.PatchProperties(r.Context(), r.name, patch, check)
	}
	if err != nil {
		return err
	}
	state, err := s.Store.Stat(r.Context(), r.name, 0)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	m := davxml.NewMultistatus(&b)
	m.Response(s.href(r.name, state.Collection), stats...)
	m.Close()
	s.write(w, r, webdav.StatusMulti, xmlType, b.Bytes())
	return nil
}

// outcome says what is to be changed and what becomes of each property; if one is refused, nothing is changed at all.
func outcome(patches []webdav.Proppatch) (patch tree.Patch, stats []webdav.Propstat, refused bool) {
	forbidden := webdav.Propstat{Status: http.StatusForbidden, XMLError: "<D:cannot-modify-protected-property/>"}
	unfit := webdav.Propstat{Status: http.StatusConflict}
	rest := webdav.Propstat{Status: http.StatusOK}
	for _, given := range patches {
		dead := webdav.Proppatch{Remove: given.Remove}
		for _, p := range given.Props {
			name := webdav.Property{XMLName: p.XMLName}
			parse, settable := timeProperties[p.XMLName]
			switch {
			case settable && !given.Remove:
				t, err := parse(strings.TrimSpace(string(p.InnerXML)))
				if err != nil {
					unfit.Props = append(unfit.Props, name)
					continue
				}
				patch.Modified = t
			case settable || isProtected(p.XMLName):
				forbidden.Props = append(forbidden.Props, name)
				continue
			default:
				dead.Props = append(dead.Props, p)
			}
			rest.Props = append(rest.Props, name)
		}
		if len(dead.Props) > 0 {
			patch.Properties = append(patch.Properties, dead)
		}
	}
	if refused = len(forbidden.Props)+len(unfit.Props) > 0; refused {
		rest.Status = webdav.StatusFailedDependency
	}
	return patch, []webdav.Propstat{forbidden, unfit, rest}, refused
}

// timeProperties are those that set the modification time, each client with its own: WinSCP and lftp, rclone and
// ownCloud, Windows.
var timeProperties = map[xml.Name]func(string) (time.Time, error){
	dav("getlastmodified"): http.ParseTime,
	dav("lastmodified"):    unixTime,
	{Space: "urn:schemas-microsoft-com:", Local: "Win32LastModifiedTime"}: http.ParseTime,
}
