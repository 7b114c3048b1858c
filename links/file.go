package links

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// File returns the name of the file with the links that belongs to a users file.
func File(users string) string { return users + ".links" }

// A List is the content of the file.
type List struct {
	all   []*Link
	bySum map[string]*Link
}

// Parse reads the text of the file: a JSON object a line.
func Parse(text string) (*List, error) {
	l := &List{bySum: map[string]*Link{}}
	ids := map[string]bool{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		link, err := parseLine(line)
		if err == nil && (ids[link.ID] || l.bySum[link.SHA256] != nil) {
			err = errors.New("the link is on another line too")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(l.all) == MaxLinks {
			return nil, fmt.Errorf("it has more than %d links", MaxLinks)
		}
		ids[link.ID] = true
		l.add(link)
	}
	return l, nil
}

func parseLine(line string) (*Link, error) {
	l := new(Link)
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		return nil, fmt.Errorf("not a link: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the link")
	}
	return l, l.check()
}

func (l *List) add(link *Link) {
	l.all = append(l.all, link)
	l.bySum[link.SHA256] = link
}

// String writes the links as [Parse] reads them.
func (l *List) String() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, link := range l.all {
		e.Encode(link) // into memory, of strings and times that were read from JSON or checked
	}
	return b.String()
}

// Of returns the links of a maker, or all if the maker is "", in the order of the file.
func (l *List) Of(maker string) []Link {
	var of []Link
	for _, link := range l.all {
		if maker == "" || link.Maker == maker {
			of = append(of, *link)
		}
	}
	return of
}

// find returns the link of a token if it has not expired, else nil. An unknown token and one that has expired take the
// same steps. The time of the look-up may tell of a sum, which is of no use without the token.
func (l *List) find(token string, now time.Time) *Link {
	link := l.bySum[auth.SumOfToken(token)]
	if link != nil && !now.Before(link.Expires) {
		return nil
	}
	return link
}

// ErrTooMany says that there are as many links as there may be.
var ErrTooMany = errors.New("there are as many links as there may be: revoke one first")

// An editor changes the text of the links in one step.
type editor func(change func(text string) (string, error)) error

// fileEditor changes the file of some users.
func fileEditor(users string) editor {
	return func(change func(text string) (string, error)) error {
		return auth.EditFile(users, File(users), func(text string) (string, error) {
			text, err := change(text)
			if broken := new(brokenError); errors.As(err, &broken) {
				err = fmt.Errorf("%s cannot be read: %w", File(users), broken.error)
			}
			return text, err
		})
	}
}

// A brokenError says that a text is no list of links.
type brokenError struct{ error }

// change edits the list. Expired links are dropped with each change.
func change(edit editor, now time.Time, fn func(*List) error) error {
	return inWords(edit(func(text string) (string, error) {
		l, err := Parse(text)
		if err != nil {
			return "", &brokenError{err}
		}
		l.all = slices.DeleteFunc(l.all, func(link *Link) bool { return !now.Before(link.Expires) })
		if err := fn(l); err != nil {
			return "", err
		}
		return l.String(), nil
	}))
}

// patience is when a client may try again to make a link where the operator of the server has to help first.
const patience = time.Minute

// inWords returns the error of a change as one of the contract, with the sentence that a client gets.
func inWords(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &tree.StorageError{Kind: tree.ErrNoSpace, Err: err, Hint: "there is no room for the file of share links; " +
			"nothing has changed; the administrator can make room"}
	case errors.Is(err, iofs.ErrPermission), errors.Is(err, syscall.EROFS):
		return &tree.StorageError{Kind: tree.ErrUnavailable, Err: err, RetryAfter: patience, Hint: "the server may not write its " +
			"file of share links; nothing has changed; the administrator can let it write beside the users file"}
	case errors.Is(err, auth.ErrEdited):
		return &tree.StorageError{Kind: tree.ErrBusy, Err: err, Hint: "another program is changing the share links; nothing has " +
			"been done, try again"}
	}
	return err
}

// CheckKept returns why links cannot be kept beside some users, or nil. It changes nothing.
func CheckKept(users string) error {
	if _, err := ReadList(users); err != nil {
		return err
	}
	name := File(users)
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	// A change replaces the file, and makes it beside the old one.
	if f, err = os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*"); err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// add adds a link.
func add(edit editor, link Link, now time.Time) error {
	return change(edit, now, func(l *List) error {
		l.all = slices.DeleteFunc(l.all, func(old *Link) bool { return link.replaces(old) })
		if len(l.all) >= MaxLinks || len(l.Of(link.Maker)) >= MaxOfMaker {
			return ErrTooMany
		}
		l.add(&link)
		return nil
	})
}

// replaces reports whether another link is of an earlier user with the name of the maker of this one.
func (l *Link) replaces(old *Link) bool {
	if old.Maker != l.Maker || old.Account == "" || l.Account == "" {
		return false
	}
	return !slices.Contains(strings.Fields(old.Account), l.Account)
}

// revoke removes the link of a maker that has an id. maker "" stands for each maker, and id "" for each link of the
// maker. It returns the links that are gone.
func revoke(edit editor, maker, id string, now time.Time) (gone []Link, err error) {
	err = change(edit, now, func(l *List) error {
		gone = nil
		l.all = slices.DeleteFunc(l.all, func(link *Link) bool {
			if maker != "" && link.Maker != maker || id != "" && link.ID != id {
				return false
			}
			gone = append(gone, *link)
			return true
		})
		return nil
	})
	return gone, err
}
