package davxml

import (
	"encoding/xml"
	"io"
	"strconv"
	"strings"
)

// A SyncCollection is the body of a REPORT for DAV:sync-collection (RFC 6578 §3.2 and §6.1).
type SyncCollection struct {
	Token    string // "": the client has none yet
	Infinite bool   // DAV:sync-level: all members below the collection, and not only its own
	Limit    int    // DAV:nresults, the most resources that the answer may have (0: no limit)
	Props    []xml.Name
}

// maxToken bounds a DAV:sync-token, DAV:sync-level and DAV:nresults, in bytes.
const maxToken = 4 << 10

// ReadReport reads the body of a REPORT. known is false if the report is not DAV:sync-collection.
//
// The errors are those of [ReadPropfind].
func ReadReport(r io.Reader) (report SyncCollection, known bool, err error) {
	s, err := open(r)
	if err != nil {
		return report, false, err
	}
	if s == nil {
		return report, false, &SyntaxError{Line: 1, Reason: "the body is empty"}
	}
	left, tokens, limits := MaxNames, 0, 0
	props, level, nresults := names{left: &left}, "", ""
	text := func() (string, error) {
		left := maxToken
		value, err := s.value(&left)
		return strings.Trim(string(value), spaces), err
	}
	err = s.document("sync-collection", func() (err error) {
		switch s.name {
		case dav("sync-token"):
			tokens++
			report.Token, err = text()
			return err
		case dav("sync-level"):
			level, err = text()
			return err
		case dav("limit"):
			return s.children(func() error {
				if s.name != dav("nresults") {
					return s.children(nil)
				}
				limits++
				nresults, err = text()
				return err
			})
		case dav("prop"):
			return props.read(s)
		}
		return s.children(nil)
	})
	if s.otherRoot {
		if s.ended {
			err = nil // it is XML, and another report
		}
		return report, false, err
	}
	report.Props = props.all
	report.Infinite = level == "infinite" || level == "infinity"
	if err == nil && tokens != 1 {
		err = s.fail("DAV:sync-collection needs one DAV:sync-token")
	}
	if err == nil && limits > 0 {
		report.Limit, err = strconv.Atoi(nresults)
		if err != nil || report.Limit < 1 {
			err = s.fail("DAV:nresults is not a positive number")
		}
	}
	if err == nil && !report.Infinite && level != "1" {
		err = s.fail("DAV:sync-level is neither 1 nor infinite")
	}
	return report, true, err
}
