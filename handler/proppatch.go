package handler

import (
	"bytes"
	"net/http"

	"golang.org/x/net/webdav"

	"ifmatch/handler/davxml"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// proppatch answers PROPPATCH: all of it happens, or nothing (RFC 4918 §9.2).
func (s *server) proppatch(w http.ResponseWriter, r *request) error {
	patches, err := davxml.ReadProppatch(r.Body)
	if err != nil {
		return err
	}
	check := r.check(r.present, precondition.Resource(r.name))
	stats, protected := outcome(patches)
	if protected {
		err = s.Store.Try(r.Context(), check)
	} else {
		err = s.Store.PatchProperties(r.Context(), r.name, tree.Patch{Properties: patches}, check)
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

// outcome says what becomes of each property, and whether one of them is protected and so nothing happens.
func outcome(patches []webdav.Proppatch) (stats []webdav.Propstat, protected bool) {
	var refused, rest webdav.Propstat
	for _, patch := range patches {
		for _, p := range patch.Props {
			name := webdav.Property{XMLName: p.XMLName}
			if isLive(p.XMLName) {
				refused.Props = append(refused.Props, name)
			} else {
				rest.Props = append(rest.Props, name)
			}
		}
	}
	protected = len(refused.Props) > 0
	refused.Status, rest.Status = http.StatusForbidden, http.StatusOK
	if protected {
		refused.XMLError = "<D:cannot-modify-protected-property/>"
		rest.Status = webdav.StatusFailedDependency
	}
	return []webdav.Propstat{refused, rest}, protected
}
