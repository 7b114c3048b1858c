package davxml

import (
	"encoding/xml"
	"io"
	"slices"

	"golang.org/x/net/webdav"
)

// A Propfind is what a PROPFIND asks for (RFC 4918 §9.1 and §14.20): exactly one of AllProp, PropName and Props.
type Propfind struct {
	AllProp  bool
	PropName bool
	Include  []xml.Name // with AllProp: these as well; each once
	Props    []xml.Name // in the order of the request, each once; may be empty without the other two, for <prop/>
}

// ReadPropfind reads the body of a PROPFIND. An empty one asks for all properties: RFC 4918 §9.1, "A client may choose
// not to submit a request body. An empty PROPFIND request body MUST be treated as if it were an 'allprop' request."
//
// Errors are a [SyntaxError], [ErrTooLarge], or a tree.BodyError with the error of r.
func ReadPropfind(r io.Reader) (Propfind, error) {
	s, err := open(r)
	if err != nil {
		return Propfind{}, err
	}
	if s == nil {
		return Propfind{AllProp: true}, nil
	}
	var p Propfind
	asked, left := 0, MaxNames
	err = s.document("propfind", func() (err error) {
		switch s.name {
		case dav("allprop"):
			asked++
			p.AllProp = true
		case dav("propname"):
			asked++
			p.PropName = true
		case dav("prop"):
			asked++
			p.Props, err = s.names(p.Props, &left)
			return err
		case dav("include"):
			p.Include, err = s.names(p.Include, &left)
			return err
		}
		return s.children(nil)
	})
	if err == nil && asked != 1 { // RFC 4918 §14.20, and appendix A.1: <propfind> with nothing that is known is a 400
		err = s.fail("DAV:propfind needs one of DAV:allprop, DAV:propname and DAV:prop")
	}
	if err != nil {
		return Propfind{}, err
	}
	if !p.AllProp {
		p.Include = nil // out of place, so it is ignored: RFC 4918 §17
	}
	return p, nil
}

// ReadProppatch reads the body of a PROPPATCH (RFC 4918 §9.2 and §14.19), one element of the result for each DAV:set and
// DAV:remove, in the order of the document, which is the order they must be executed in. The values are self-contained,
// as the package comment says, and Lang is the xml:lang in force where the property is. Properties to remove have a
// name only.
//
// Errors are those of [ReadPropfind].
func ReadProppatch(r io.Reader) ([]webdav.Proppatch, error) {
	s, err := open(r)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, &SyntaxError{Line: 1, Reason: "the body is empty"}
	}
	var patches []webdav.Proppatch
	left := maxUpdate
	err = s.document("propertyupdate", func() error {
		remove := s.name == dav("remove")
		if !remove && s.name != dav("set") {
			return s.children(nil)
		}
		patch := webdav.Proppatch{Remove: remove}
		props := 0
		err := s.children(func() error {
			if s.name != dav("prop") {
				return s.children(nil)
			}
			props++
			return s.children(func() error {
				property, err := s.property(remove, &left)
				patch.Props = append(patch.Props, property)
				return err
			})
		})
		if err == nil && props != 1 { // RFC 4918 §14.23 and §14.26
			err = s.fail("DAV:set and DAV:remove need one DAV:prop")
		}
		patches = append(patches, patch)
		return err
	})
	if err == nil && patches == nil {
		err = s.fail("DAV:propertyupdate needs DAV:set or DAV:remove")
	}
	if err != nil {
		return nil, err
	}
	return patches, nil
}

// A LockInfo is what a LOCK asks for (RFC 4918 §9.10 and §14.11).
type LockInfo struct {
	// Refresh: there is no body. RFC 4918 §9.10.2: "This request MUST NOT have a body", and it is about a lock that
	// exists.
	Refresh bool
	Shared  bool
	Owner   string // the inner XML of DAV:owner, self-contained as the package comment says
}

// ReadLockInfo reads the body of a LOCK. Only write locks exist (RFC 4918 §14.15).
//
// Errors are those of [ReadPropfind].
func ReadLockInfo(r io.Reader) (LockInfo, error) {
	s, err := open(r)
	if err != nil {
		return LockInfo{}, err
	}
	if s == nil {
		return LockInfo{Refresh: true}, nil
	}
	var info LockInfo
	var exclusive, shared, write, owners int
	count := func(names map[xml.Name]*int) func() error {
		return func() error {
			if n := names[s.name]; n != nil {
				*n++
			}
			return s.children(nil)
		}
	}
	err = s.document("lockinfo", func() error {
		switch s.name {
		case dav("lockscope"):
			return s.children(count(map[xml.Name]*int{dav("exclusive"): &exclusive, dav("shared"): &shared}))
		case dav("locktype"):
			return s.children(count(map[xml.Name]*int{dav("write"): &write}))
		case dav("owner"):
			owners++
			left := maxUpdate
			owner, err := s.value(&left)
			info.Owner = string(owner)
			return err
		}
		return s.children(nil)
	})
	switch {
	case err != nil:
	case exclusive+shared != 1:
		err = s.fail("DAV:lockscope needs one of DAV:exclusive and DAV:shared")
	case write != 1:
		err = s.fail("DAV:locktype needs DAV:write")
	case owners > 1:
		err = s.fail("DAV:lockinfo has more than one DAV:owner")
	}
	if err != nil {
		return LockInfo{}, err
	}
	info.Shared = shared == 1
	return info, nil
}

// document reads all of the document, and calls child for every child element of its root.
func (s *scanner) document(root string, child func() error) error {
	for {
		switch t, err := s.next(); {
		case err != nil:
			return err
		case t == characters: // white space, which is all there can be
			continue
		}
		break
	}
	// Whether it is the right root is said only of what is XML.
	wrong := s.name != dav(root)
	if wrong {
		child = nil
	}
	if err := s.children(child); err != nil {
		return err
	}
	for {
		switch t, err := s.next(); {
		case err != nil:
			return err
		case t == endDocument && wrong:
			return s.fail("the root element is not DAV:%s", root)
		case t == endDocument:
			return nil
		}
	}
}

// children reads the element that has just started through its end. It calls child at the start of every child element,
// which reads that one through its end; if child is nil, they are passed over. Text is ignored.
func (s *scanner) children(child func() error) error {
	depth := len(s.open)
	for len(s.open) >= depth {
		t, err := s.next()
		if err != nil {
			return err
		}
		if t == startElement && child != nil {
			if err := child(); err != nil {
				return err
			}
		}
	}
	return nil
}

// names reads the names of the properties below an element, and adds those that are not in names yet.
func (s *scanner) names(names []xml.Name, left *int) ([]xml.Name, error) {
	err := s.children(func() error {
		if !slices.Contains(names, s.name) {
			*left -= len(s.name.Space) + len(s.name.Local) + nameCost
			if *left < 0 {
				return ErrTooLarge
			}
			names = append(names, s.name)
		}
		return s.children(nil)
	})
	return names, err
}
