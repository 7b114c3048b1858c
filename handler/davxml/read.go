package davxml

import (
	"encoding/xml"
	"io"

	"golang.org/x/net/webdav"
)

// A Propfind is the body of a PROPFIND (RFC 4918 §9.1 and §14.20): exactly one of AllProp, PropName and Props.
type Propfind struct {
	AllProp  bool
	PropName bool
	Include  []xml.Name // properties besides those of AllProp, each once
	Props    []xml.Name // in the order of the request, each once, and empty for <prop/>
}

// ReadPropfind reads the body of a PROPFIND. An empty body asks for all properties: RFC 4918 §9.1, "A client may
// choose not to submit a request body. An empty PROPFIND request body MUST be treated as if it were an 'allprop'
// request."
//
// The error is a [SyntaxError], [ErrTooLarge], or a tree.BodyError with the error of r.
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
	props, include := names{left: &left}, names{left: &left}
	err = s.document("propfind", func() error {
		switch s.name {
		case dav("allprop"):
			asked++
			p.AllProp = true
		case dav("propname"):
			asked++
			p.PropName = true
		case dav("prop"):
			asked++
			return props.read(s)
		case dav("include"):
			return include.read(s)
		}
		return s.children(nil)
	})
	if err == nil && asked != 1 { // RFC 4918 §14.20 and appendix A.1: a <propfind> with only unknown elements is a 400
		err = s.fail("DAV:propfind needs one of DAV:allprop, DAV:propname and DAV:prop")
	}
	if err != nil {
		return Propfind{}, err
	}
	p.Props = props.all
	if p.AllProp {
		p.Include = include.all // without AllProp it is out of place, and ignored (RFC 4918 §17)
	}
	return p, nil
}

// ReadProppatch reads the body of a PROPPATCH (RFC 4918 §9.2 and §14.19). The result has one element for each DAV:set
// and DAV:remove, in the order of the document, in which they must be executed. The values are self-contained, see
// the package comment. Lang is the xml:lang in force at the property. Properties to remove have only a name.
//
// The errors are those of [ReadPropfind].
func ReadProppatch(r io.Reader) ([]webdav.Proppatch, error) {
	s, err := open(r)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, &SyntaxError{Line: 1, Reason: "the body is empty"}
	}
	var patches []webdav.Proppatch
	left, number := maxUpdate, 0
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
				if number++; number > MaxProperties {
					return ErrTooLarge
				}
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

// A LockInfo is the body of a LOCK (RFC 4918 §9.10 and §14.11).
type LockInfo struct {
	// Refresh says that there is no body: the request refreshes a lock. RFC 4918 §9.10.2: "This request MUST NOT have
	// a body".
	Refresh bool
	Shared  bool
	Owner   string // the inner XML of DAV:owner, self-contained, see the package comment
}

// ReadLockInfo reads the body of a LOCK. Only write locks exist (RFC 4918 §14.15).
//
// The errors are those of [ReadPropfind].
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
	count := func(local string, n *int) {
		if s.name == dav(local) { // a map would hash the namespace, which may be long, for each name
			*n++
		}
	}
	err = s.document("lockinfo", func() error {
		switch s.name {
		case dav("lockscope"):
			return s.children(func() error {
				count("exclusive", &exclusive)
				count("shared", &shared)
				return s.children(nil)
			})
		case dav("locktype"):
			return s.children(func() error {
				count("write", &write)
				return s.children(nil)
			})
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

// document reads the whole document, and calls child at the start of each child element of its root.
func (s *scanner) document(root string, child func() error) error {
	for t := characters; t == characters; { // only white space is possible before the root
		var err error
		if t, err = s.next(); err != nil {
			return err
		}
	}
	// The rest must be XML before the error about the root is returned.
	wrong := s.name != dav(root)
	if wrong {
		child, s.otherRoot = nil, true
	}
	if err := s.children(child); err != nil {
		return err
	}
	for {
		switch t, err := s.next(); {
		case err != nil:
			return err
		case t == endDocument && wrong:
			s.ended = true
			return s.fail("the root element is not DAV:%s", root)
		case t == endDocument:
			return nil
		}
	}
}

// children reads the element that has just started to its end. It calls child at the start of each child element,
// which must read that element to its end. If child is nil, it skips all child elements. It ignores text.
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

// names are names of properties in the order of the document, each once.
type names struct {
	all  []xml.Name
	seen map[shortName]bool
	left *int // the bytes of names that may still be read
}

// read reads the names of the properties below an element.
func (n *names) read(s *scanner) error {
	return s.children(func() error {
		short := shortName{s.nameSpace, s.name.Local}
		if !n.seen[short] {
			*n.left -= len(s.name.Space) + len(s.name.Local) + nameCost
			if *n.left < 0 {
				return ErrTooLarge
			}
			if n.seen == nil {
				n.seen = map[shortName]bool{}
			}
			n.seen[short] = true
			n.all = append(n.all, s.name)
		}
		return s.children(nil)
	})
}
