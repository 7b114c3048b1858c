// Package links keeps share links: URLs by which a client without a login reads a file or a folder, or drops new files
// into a folder, with a part of the rights of the user who has made the link.
//
// A link is a line of a file beside the users file, with the SHA-256 of its token. The token itself is in the URL and
// is shown once. A link gives no right of its own: at each request its maker is asked for, by the rules of that
// instant, and the rights of the maker are cut to those of the link (see [Link.Principal]). So a link ends with its
// maker, with the rule that lets the maker do it, and with the name that it is about. It is about a name and not about
// a file: a file that is moved away is not at the link any more, and one that comes to the name is.
//
// # Limits
//
// A maker has at most [MaxOfMaker] links, and a file has at most [MaxLinks]. A client that can see the URL has the
// link. A link that has no password is no safer than the places where the URL is kept.
package links

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An Access is the purpose of a link.
type Access string

// The accesses.
const (
	Read Access = "read" // list and read the name and all below it
	Drop Access = "drop" // create files in the collection, and nothing else: nothing is listed or read back
)

// ParseAccess reads an Access.
func ParseAccess(s string) (Access, error) {
	if a := Access(s); a == Read || a == Drop {
		return a, nil
	}
	return "", fmt.Errorf("a link is for %s or %s, not %q", Read, Drop, excerpt.Of(s))
}

// Effects returns the most that a link gives on its names.
func (a Access) Effects() auth.Effects {
	switch a {
	case Read:
		return auth.List | auth.Read
	case Drop:
		return auth.Create
	}
	return auth.None
}

// The bounds of links.
const (
	MaxLinks   = 10_000 // in all
	MaxOfMaker = 1_000  // of one maker
	MaxLabel   = 200    // of a label, in bytes
	// DefaultExpiry is how long a link is good where its maker says nothing.
	DefaultExpiry = 30 * 24 * time.Hour
	// MaxExpiry is the longest time for which a link is good.
	MaxExpiry = 10 * 365 * 24 * time.Hour
)

// A Link is one line of the file.
type Link struct {
	ID    string `json:"id"` // tells links apart, and is no secret
	Maker string `json:"maker"`
	// Token is the app token with which it was made, which it ends with: "" for the password of the maker.
	Token string `json:"token,omitempty"`
	// Account is that of the maker, as [auth.Users.Holds] takes it, so that the link ends with a maker who is removed by
	// hand. "" is in files of earlier versions: it is of each user of that name.
	Account string `json:"account,omitempty"`
	Path    string `json:"path"` // the name, escaped as in a URL, with a slash before it: names are any bytes
	Access  Access `json:"access"`
	Label   string `json:"label,omitempty"`
	SHA256  string `json:"sha256"`             // of the token of the link, in hex
	Hash    string `json:"password,omitempty"` // of the password: "" for none
	// Created and Expires have whole seconds.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`

	name string
}

// A Wish is the description of a new link by its maker.
type Wish struct {
	Maker, Token string
	Account      string // of the maker: see [auth.Users.Account]
	Name         string // in the tree
	Access       Access
	Label        string
	Password     string // "": none
	Expires      time.Time
}

// New makes a link with a token of 256 random bits, which is to be shown once. It takes some 20 ms where there is a
// password.
func New(w Wish, now time.Time) (l Link, token string, err error) {
	var random [32 + 5]byte
	if _, err := rand.Read(random[:]); err != nil {
		return Link{}, "", err
	}
	token = excerpt.LinkToken + base64.RawURLEncoding.EncodeToString(random[:32])
	l = Link{
		ID:    strings.ToLower(base32.StdEncoding.EncodeToString(random[32:])),
		Maker: w.Maker, Token: w.Token, Account: w.Account, Path: escaped(w.Name), Access: w.Access, Label: w.Label, SHA256: auth.SumOfToken(token),
		Created: now.UTC().Truncate(time.Second), Expires: w.Expires.UTC().Truncate(time.Second),
	}
	switch {
	case !l.Expires.After(now):
		return Link{}, "", errors.New("a link must expire in the future")
	case l.Expires.Sub(now) > MaxExpiry:
		return Link{}, "", fmt.Errorf("a link is good for %d days at the most", MaxExpiry/(24*time.Hour))
	}
	if w.Password != "" {
		if l.Hash, err = auth.NewHash(w.Password); err != nil {
			return Link{}, "", err
		}
	}
	return l, token, l.check()
}

// escaped writes a name as the path of a URL.
func escaped(name string) string {
	segments := strings.Split(name, "/")
	for i, segment := range segments {
		segments[i] = url.PathEscape(segment)
	}
	return "/" + strings.Join(segments, "/")
}

// check validates the fields of a line, and sets the name.
func (l *Link) check() error {
	if err := auth.CheckName(l.Maker); err != nil {
		return fmt.Errorf("maker: %w", err)
	}
	if l.Token != "" {
		if err := auth.CheckName(l.Token); err != nil {
			return fmt.Errorf("token: %w", err)
		}
	}
	if l.ID == "" || len(l.ID) > 16 || strings.Trim(l.ID, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return errors.New("the id is malformed")
	}
	if _, err := ParseAccess(string(l.Access)); err != nil {
		return err
	}
	if err := auth.CheckSumOfToken(l.SHA256); err != nil {
		return err
	}
	if l.Expires.IsZero() {
		return errors.New("it has no expiry")
	}
	if err := auth.CheckAccounts(l.Account); err != nil {
		return err
	}
	if l.Hash != "" {
		if err := auth.CheckHash(l.Hash); err != nil {
			return err
		}
	}
	if err := CheckLabel(l.Label); err != nil {
		return err
	}
	return l.checkPath()
}

func (l *Link) checkPath() (err error) {
	path, ok := strings.CutPrefix(l.Path, "/")
	if !ok {
		return errors.New("the path does not begin with a slash")
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if segments[i], err = url.PathUnescape(segment); err != nil {
			return errors.New("the path is badly escaped")
		}
		if strings.Contains(segments[i], "/") {
			return errors.New("the path has an escaped slash")
		}
	}
	l.name = strings.Join(segments, "/")
	if err := tree.CheckName(l.name); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	return nil
}

// CheckLabel returns nil for a text that a label can be: of a line, for people.
func CheckLabel(label string) error {
	switch {
	case len(label) > MaxLabel:
		return fmt.Errorf("a label has at most %d bytes", MaxLabel)
	case !utf8.ValidString(label):
		return errors.New("a label is UTF-8")
	case strings.ContainsFunc(label, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return errors.New("a label has no control characters")
	}
	return nil
}

// Name returns the name that the link is about.
func (l *Link) Name() string { return l.name }

// Title returns the part of its name that people with the link see: the last segment, or the label.
func (l *Link) Title() string {
	if l.Label != "" {
		return l.Label
	}
	_, base := tree.Split(l.name)
	return base
}

// Principal returns who asks by the link: its maker, without all but the effects of the link, and without those on other
// names.
func (l *Link) Principal() auth.Principal {
	return auth.Principal{Name: l.Maker, Token: l.Token, Without: auth.All &^ l.Access.Effects(), Link: l.ID, Root: l.name,
		Account: l.Account}
}
