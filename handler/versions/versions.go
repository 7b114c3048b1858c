// Package versions has the addresses of old versions, below PREFIX/.ifmatch/versions/. The history keeps versions by
// the name that they had:
//
//	.ifmatch/versions/notes.txt/       the versions of notes.txt, and of all below it: a collection
//	.ifmatch/versions/notes.txt/ID     one of them
//
// A list ends with a slash, and a version does not. So any name of the tree can be asked about, of any form.
// The ID of a version is its ETag without the quotes, or the time when it gave way, which collections and links have
// alone. It is the latest of several versions with that ETag.
//
// The package reads no request, and decides about no rights: the caller passes the versions that may be known.
package versions

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"iter"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/handler/davxml"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Address is the segment of all addresses behind that of the program.
const Address = "versions"

// Space is the namespace of the properties of a version that no RFC has: gone, cause, by.
const Space = "urn:x-ifmatch"

// An Asked is the subject of a URL.
type Asked struct {
	Name string // in the tree
	ID   string // of a version of that name ("": the list of all)
}

// Parse reads the path behind [Address]. slash says that the URL ends with one. ok is false where the address of a list
// lacks its slash at the top.
func Parse(rest string, slash bool) (asked Asked, ok bool) {
	if slash {
		return Asked{Name: rest}, true
	}
	asked.Name, asked.ID = tree.Split(rest)
	return asked, rest != ""
}

// IDOf returns the ID of a version: by its ETag, as far as that is known.
func IDOf(v *tree.Version) string {
	if v.Tag != "" && !v.Collection && !v.Link {
		return strings.Trim(string(v.Tag), `"`)
	}
	return timeOf(v)
}

func timeOf(v *tree.Version) string { return v.Gone.UTC().Format(time.RFC3339Nano) }

// Find returns the latest version of a name with an ID. all are those of the history, the oldest first, and an error ends
// them. unknown says that there are files whose ETags are not known, of which one may have it.
func Find(all iter.Seq2[tree.Version, error], asked Asked) (found tree.Version, unknown bool, err error) {
	err = tree.ErrNotExist
	for v, failed := range all {
		switch {
		case failed != nil:
			return tree.Version{}, false, failed
		case v.Name != asked.Name:
		case asked.ID == IDOf(&v) || asked.ID == timeOf(&v):
			found, err = v, nil
		case v.Tag == "" && !v.Collection && !v.Link:
			unknown = true
		}
	}
	return found, unknown, err
}

// An entry is a version in a list as JSON.
type entry struct {
	Href       string    `json:"href"` // of the version
	Path       string    `json:"path"` // that it had
	Collection bool      `json:"collection,omitempty"`
	Link       bool      `json:"link,omitempty"`
	Size       int64     `json:"size"` // in bytes
	ETag       tree.ETag `json:"etag,omitempty"`
	Modified   time.Time `json:"modified,omitzero"`
	Gone       time.Time `json:"gone"` // when it was replaced or removed
	Cause      string    `json:"cause"`
	By         string    `json:"by,omitempty"`
}

// WriteJSON writes a list. href returns the path of a name, or of one below [Address], as in a URL.
func WriteJSON(w io.Writer, latest []tree.Version, all bool, href func(name string, collection bool) string) error {
	list := struct {
		Versions []entry `json:"versions"`
		Complete bool    `json:"complete"`
	}{[]entry{}, all}
	for i := range latest {
		v := &latest[i]
		e := entry{Href: href(NameOf(v), false), Path: href(v.Name, v.Collection), Collection: v.Collection, Link: v.Link,
			Size: v.Size, ETag: v.Tag, Modified: v.Modified.UTC(), Gone: v.Gone.UTC(), Cause: v.Cause, By: string(v.Principal)}
		list.Versions = append(list.Versions, e)
	}
	return json.NewEncoder(w).Encode(list)
}

// NameOf returns the path of a version behind the prefix of the server.
func NameOf(v *tree.Version) string {
	return strings.Join([]string{".ifmatch", Address, tree.Join(v.Name, IDOf(v))}, "/")
}

// Members returns the versions of one name alone, as members of its list: of several with one ID the latest.
func Members(latest []tree.Version, name string) (members []tree.Version) {
	seen := map[string]bool{}
	for _, v := range latest {
		if id := IDOf(&v); v.Name == name && !seen[id] {
			seen[id] = true
			members = append(members, v)
		}
	}
	return members
}

// StateOf returns the state of a version as a member of its list, with the properties of [Space].
func StateOf(v *tree.Version) tree.State {
	state := v.State
	state.Name = tree.Join(v.Name, IDOf(v))
	state.Properties = []webdav.Property{
		property("gone", timeOf(v)), property("cause", v.Cause),
	}
	if v.Principal != "" {
		state.Properties = append(state.Properties, property("by", string(v.Principal)))
	}
	return state
}

func property(local, value string) webdav.Property {
	return webdav.Property{XMLName: xml.Name{Space: Space, Local: local}, InnerXML: davxml.AppendText(nil, value)}
}
