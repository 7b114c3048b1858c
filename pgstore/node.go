package pgstore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The values of columns kind and place.
const (
	kindFile = "f"
	kindDir  = "d"
	inTable  = "i" // the content is a row of table content
	inBlobs  = "o" // the content is an object
)

// A node is the row of a name, or a name without one.
type node struct {
	dates
	there      bool
	parent     int64 // of the collection that it is in, 0 if that is not there
	id         int64
	kind       string
	size       int64
	blob       *uuid.UUID
	place      string
	sum        []byte
	created    time.Time
	executable bool
	props      []byte
	data       []byte // the content, where that was asked for and lies in the database
}

func (n *node) isFile() bool { return n.there && n.kind == kindFile }
func (n *node) isDir() bool  { return n.there && n.kind == kindDir }

func (n *node) tag() tree.ETag {
	if !n.isFile() {
		return ""
	}
	return tree.TagOf([32]byte(n.sum))
}

// nodeColumns are the columns that scan reads, of a table n.
const nodeColumns = `n.id, n.kind::text, n.size, n.modified, n.since, n.earlier, n.shown, n.below, n.ahead_first,
 n.ahead_last, n.own_first, n.own_last, n.blob, n.place::text, n.sha256, n.created, n.executable`

// A nodeRow has the columns of a row that may have nulls.
type nodeRow struct {
	id, size, modified, since, earlier, shown, below, aheadFirst, aheadLast, ownFirst, ownLast *int64

	kind, place *string
	blob        *uuid.UUID
	sum, props  []byte
	created     *time.Time
	executable  *bool
}

// scan reads the nodeColumns, the properties, and more.
func (r *nodeRow) scan(rows pgx.Rows, before []any, after ...any) error {
	return rows.Scan(slices.Concat(before, []any{&r.id, &r.kind, &r.size, &r.modified, &r.since, &r.earlier, &r.shown, &r.below,
		&r.aheadFirst, &r.aheadLast, &r.ownFirst, &r.ownLast, &r.blob, &r.place, &r.sum, &r.created, &r.executable,
		&r.props}, after)...)
}

func (r *nodeRow) node() *node {
	n := &node{dates: noDates(), blob: r.blob, sum: r.sum, props: r.props}
	n.below, n.since = orNever(r.below), orNever(r.since)
	n.Sent = tree.Sent{Earlier: orNever(r.earlier), Ahead: spanOf(r.aheadFirst, r.aheadLast)}
	n.own = tree.Sent{Earlier: orNever(r.shown), Ahead: spanOf(r.ownFirst, r.ownLast)}
	if r.id == nil {
		return n
	}
	n.there, n.id, n.kind, n.size, n.modified = true, *r.id, *r.kind, *r.size, *r.modified
	n.created, n.executable = *r.created, *r.executable
	if r.place != nil {
		n.place = *r.place
	}
	return n
}

// readMember reads a row of membersSQL. of is its first column, and over its last one.
func (n *node) readMember(rows pgx.Rows) (of int64, name []byte, over bool, err error) {
	if !isBinary(rows) {
		var row nodeRow
		err = row.scan(rows, []any{&of, &name}, &over)
		*n = *row.node()
		return of, name, over, err
	}
	raw := rows.RawValues()
	n.decode(raw[2:])
	return number(raw[0]), bytes.Clone(raw[1]), raw[20][0] != 0, nil
}

// isBinary reports whether values come in binary, as they do unless the address of the database asks for another protocol.
func isBinary(rows pgx.Rows) bool { return rows.FieldDescriptions()[0].Format == pgx.BinaryFormatCode }

// decode reads the nodeColumns and the properties as they have come, in binary. To read them by type takes half of the time
// of a listing. The bytes belong to the connection, and are other ones with the next row.
func (n *node) decode(raw [][]byte) {
	second := func(i int) int64 {
		if raw[i] == nil {
			return tree.Never
		}
		return number(raw[i])
	}
	span := func(i int) tree.Span {
		if raw[i] == nil || raw[i+1] == nil {
			return tree.NoTime
		}
		return tree.Span{First: number(raw[i]), Last: number(raw[i+1])}
	}
	*n = node{dates: noDates(), props: bytes.Clone(raw[17]), sum: bytes.Clone(raw[14])}
	n.since, n.below = second(4), second(7)
	n.Sent, n.own = tree.Sent{Earlier: second(5), Ahead: span(8)}, tree.Sent{Earlier: second(6), Ahead: span(10)}
	if raw[12] != nil {
		n.blob = (*uuid.UUID)(bytes.Clone(raw[12]))
	}
	if raw[0] == nil {
		return
	}
	n.there, n.id, n.size, n.modified = true, number(raw[0]), number(raw[2]), number(raw[3])
	n.created, n.executable = time.UnixMicro(number(raw[15])+year2000), raw[16][0] != 0
	if n.kind = kindFile; string(raw[1]) == kindDir {
		n.kind = kindDir
	}
	switch string(raw[13]) {
	case inTable:
		n.place = inTable
	case inBlobs:
		n.place = inBlobs
	}
}

// year2000 is the beginning of the time of PostgreSQL, in microseconds since 1970.
const year2000 = 946_684_800_000_000

// number reads a bigint, or a time in microseconds.
func number(raw []byte) int64 { return int64(binary.BigEndian.Uint64(raw)) }

// state returns the state of a name.
func (n *node) state(name string, now time.Time) tree.State {
	if !n.there {
		return tree.State{Name: name}
	}
	s := tree.State{
		Name: name, Exists: true, Collection: n.kind == kindDir, Tag: n.tag(), Size: n.size, Created: n.created,
		Executable: n.executable, Modified: time.Unix(n.modified, 0),
	}
	if n.kind == kindFile {
		if !s.Modified.After(now) {
			s.LastModified = s.Modified
		}
		s.Dates = n.proof()
	}
	return s
}

// A property is a dead property as it is kept.
type property struct {
	Space string `json:"s,omitempty"`
	Local string `json:"n"`
	Lang  string `json:"l,omitempty"`
	Value []byte `json:"v,omitempty"` // bytes, because a client may send no text
}

func decodeProperties(data []byte) ([]webdav.Property, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var kept []property
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, &tree.StorageError{Kind: tree.ErrFailed, Hint: "the properties in the database are damaged", Err: err}
	}
	all := make([]webdav.Property, 0, len(kept))
	for _, p := range kept {
		all = append(all, webdav.Property{XMLName: xml.Name{Space: p.Space, Local: p.Local}, Lang: p.Lang, InnerXML: p.Value})
	}
	return all, nil
}

func encodeProperties(all []webdav.Property) ([]byte, error) {
	if len(all) == 0 {
		return nil, nil
	}
	if !tree.FitProperties(all) {
		return nil, &tree.StorageError{Kind: tree.ErrNoSpace,
			Hint: "a resource has no room for more than 64 KiB of properties; remove some"}
	}
	kept := make([]property, 0, len(all))
	for _, p := range all {
		kept = append(kept, property{p.XMLName.Space, p.XMLName.Local, p.Lang, p.InnerXML})
	}
	return json.Marshal(kept)
}

// argument returns an argument in the form that pgx sends as it is. It would send an identifier by way of its text.
func argument(arg any) any {
	switch id := arg.(type) {
	case uuid.UUID:
		return pgtype.UUID{Bytes: id, Valid: true}
	case *uuid.UUID:
		if id == nil {
			return pgtype.UUID{}
		}
		return pgtype.UUID{Bytes: *id, Valid: true}
	}
	return arg
}
