package auth

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A Principal is a user who sends requests. The zero value is anonymous.
type Principal struct {
	Name   string   // of the user, in NFC, or "" for anonymous
	Groups []string // that a proxy has named, beside those of the configuration
	Token  string   // the name of the app token that was sent in place of the password, or "" for none
	// Without are effects that the app token takes away.
	Without Effects
	// Proxied: a proxy has named the user, which need not be in the users file.
	Proxied bool
	// Link is the id of the share link by which a request came, whose maker has the Name: "" for none. The principal
	// then has no effects but on Root and below it.
	Link, Root string
	// Account is that of the maker of the link: see [Users.Holds].
	Account string
}

// gone returns the principal that is left of one whose user, or whose app token, is not there any more: anonymous, who
// has no effects by a link.
func (p Principal) gone() Principal {
	if p.Link != "" {
		return Principal{Without: All, Link: p.Link, Root: p.Root}
	}
	return Principal{}
}

// Anonymous reports whether no user is known.
func (p Principal) Anonymous() bool { return p.Name == "" }

// String is how logs and locks name the principal: the user, with the app token or the share link behind a slash. No
// user name has one, and no name of a token has the colon of a link.
func (p Principal) String() string {
	switch {
	case p.Name == "":
		return anonymousName
	case p.Link != "":
		return p.Name + "/" + LinkSubject(p.Link)
	case p.Token != "":
		return p.Name + "/" + p.Token
	}
	return p.Name
}

// LinkSubject is how logs name a share link, and for what its wrong passwords are counted. No user has such a name.
func LinkSubject(id string) string { return "link:" + id }

// Names that rules have for more than one principal. No user and no group is called so.
const (
	anonymousName     = "anonymous"
	authenticatedName = "authenticated"
)

// maxName bounds names of users, groups and app tokens, in bytes.
const maxName = 255

// CheckName returns nil for a name that a user or an app token can have: one of [CheckGroup] without a colon (RFC
// 7617 §2) and without a slash.
func CheckName(name string) error {
	if strings.ContainsAny(name, ":/") {
		return errors.New("a name cannot have a colon or a slash")
	}
	return CheckGroup(name)
}

// CheckGroup returns nil for a name that a group can have: in NFC, at most 255 bytes of UTF-8, without comma (which
// separates names in headers) and without control and format characters, without space at an end, not beginning with
// "@" or "#", and none of the words that rules have.
func CheckGroup(name string) error {
	switch {
	case name == "":
		return errors.New("a name is empty")
	case len(name) > maxName:
		return fmt.Errorf("a name is longer than %d bytes", maxName)
	case !utf8.ValidString(name):
		return errors.New("a name is not UTF-8")
	case !norm.NFC.IsNormalString(name):
		return errors.New("a name is not in the normal form NFC")
	case strings.Contains(name, ","):
		return errors.New("a name cannot have a comma")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return errors.New("a name cannot have control characters")
	case strings.TrimSpace(name) != name:
		return errors.New("a name cannot begin or end with a space")
	case name[0] == '@' || name[0] == '#':
		return errors.New("a name cannot begin with @ or #")
	case name == anonymousName || name == authenticatedName || name == "." || name == "..":
		return fmt.Errorf("%q is not the name of anyone", name)
	}
	return nil
}

// NormalName returns a name as it is kept, in NFC.
func NormalName(name string) string { return norm.NFC.String(name) }
