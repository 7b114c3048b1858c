package links

import (
	"encoding/json"
	"io"
	"time"
)

// maxAsked bounds the description of a new link, in bytes.
const maxAsked = 32 << 10

// An Asked is the description of a new link, as a client sends it.
type Asked struct {
	Wish
	Path string // of what it is about, as in a URL
}

// A BadError says why a description is refused.
type BadError struct{ Detail string }

// Error implements error.
func (e *BadError) Error() string { return e.Detail }

// ReadAsked reads a description in JSON. The error is a [*BadError], or that of the body.
func ReadAsked(body io.Reader, now time.Time) (*Asked, error) {
	var sent struct {
		Path     string     `json:"path"`
		Access   string     `json:"access"`
		Label    string     `json:"label"`
		Password string     `json:"password"`
		Expires  *time.Time `json:"expires"`
	}
	limited := &io.LimitedReader{R: body, N: maxAsked + 1}
	text, err := io.ReadAll(limited)
	if err != nil {
		return nil, err
	}
	if limited.N == 0 {
		return nil, &BadError{"the description is too long"}
	}
	if err := json.Unmarshal(text, &sent); err != nil {
		return nil, &BadError{`describe the link: {"path": …, "access": "read" or "drop", "label": …, "password": …, "expires": ` +
			`a time such as 2030-01-31T00:00:00Z}`}
	}
	access := Read
	if sent.Access != "" {
		if access, err = ParseAccess(sent.Access); err != nil {
			return nil, &BadError{err.Error()}
		}
	}
	if sent.Path == "" {
		return nil, &BadError{"path is the path of a file or folder, as in its URL"}
	}
	asked := &Asked{Path: sent.Path, Wish: Wish{Access: access, Label: sent.Label, Password: sent.Password}}
	asked.Expires = now.Add(DefaultExpiry)
	if sent.Expires != nil {
		asked.Expires = *sent.Expires
	}
	return asked, nil
}

// A Told is a link in an answer.
type Told struct {
	ID       string    `json:"id"`
	Path     string    `json:"path"` // of what it is about, as in a URL
	Access   Access    `json:"access"`
	Label    string    `json:"label,omitempty"`
	Password bool      `json:"password"`        // it has one
	Token    string    `json:"token,omitempty"` // the app token with which it was made, and ends
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	Href     string    `json:"href,omitempty"` // the path of its URL, in the answer to its maker alone
}

// A ToldList is all links of a user.
type ToldList struct {
	Links []Told `json:"links"`
}

// Answer tells of links that have not expired. href returns the path of a name.
func Answer(all []Link, now time.Time, href func(name string, collection bool) string) ToldList {
	told := ToldList{Links: []Told{}}
	for i := range all {
		l := &all[i]
		if now.Before(l.Expires) {
			told.Links = append(told.Links, Told{ID: l.ID, Path: href(l.name, false), Access: l.Access, Label: l.Label,
				Password: l.Hash != "", Token: l.Token, Created: l.Created, Expires: l.Expires})
		}
	}
	return told
}
