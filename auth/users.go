package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// A Users is the content of a users file: the names of users, and the hashes of their passwords.
type Users struct {
	names  []string // in the order of the file
	hashes map[string]hash
	hashed []string // those of the names that have a password
	seed   maphash.Seed
	fake   hash // where there is no user
}

// ParseUsers reads a users file as htpasswd writes it: lines NAME:HASH, empty ones, and comments that begin with "#".
// The error names all lines that cannot be read by their number. Then there are no Users. old: take apr1 and {SHA}
// too.
func ParseUsers(text string, old bool) (*Users, error) {
	u := &Users{hashes: map[string]hash{}, seed: maphash.MakeSeed()}
	var errs lineErrors
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		name, text, ok := strings.Cut(line, ":")
		if !ok {
			errs.add(n, errors.New("there is no colon: a line is NAME:HASH"))
			continue
		}
		if err := CheckName(name); err != nil {
			errs.add(n, err)
			continue
		}
		h, err := parseHash(text, old)
		if _, again := u.hashes[name]; again {
			err = fmt.Errorf("the user %q is on another line too", name)
		}
		if err != nil {
			errs.add(n, err)
			continue
		}
		u.names = append(u.names, name)
		u.hashes[name] = h
		if h.text != NoPassword {
			u.hashed = append(u.hashed, name)
		}
	}
	if err := errs.err(); err != nil {
		return nil, err
	}
	var err error
	u.fake, err = parseArgon2id(fakeHash)
	return u, err
}

// fakeHash is the hash of a password that no user has.
const fakeHash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Names returns the names of the users, in the order of the file.
func (u *Users) Names() []string { return u.names }

// Has reports whether there is a user of this name.
func (u *Users) Has(name string) bool { _, ok := u.hashes[name]; return ok }

// Account returns a text for the account of a user: another one when the user is removed and added again. It is that of
// the line of the file, so a new password is another account, too. "" is for no such user.
func (u *Users) Account(name string) string {
	h, ok := u.hashes[name]
	if !ok {
		return ""
	}
	return accountOf(name, h.text)
}

func accountOf(name, hash string) string {
	sum := sha256.Sum256([]byte("account\x00" + name + "\x00" + hash))
	return hex.EncodeToString(sum[:8])
}

// Holds reports whether a user is there, and what was made with some accounts is of that user. These are texts of
// [Users.Account] with spaces between them. "" is of each user of that name.
func (u *Users) Holds(name, accounts string) bool {
	now := u.Account(name)
	return now != "" && (accounts == "" || slices.Contains(strings.Fields(accounts), now))
}

// Carried returns the accounts of a thing that stays with its user when the hash of the password becomes another one. A
// server may not have read the users file yet, so the account before stays with it. What is of an earlier user of that
// name is left alone.
func (u *Users) Carried(name, accounts, hash string) string {
	if !u.Holds(name, accounts) {
		return accounts
	}
	return u.Account(name) + " " + accountOf(name, hash)
}

// CheckAccounts returns nil for a text that [Users.Holds] takes.
func CheckAccounts(text string) error {
	if len(text) > maxAccounts || strings.Trim(text, "0123456789abcdef ") != "" {
		return errors.New("the account is malformed")
	}
	return nil
}

// maxAccounts bounds the text of accounts, in bytes.
const maxAccounts = 64

// HasPassword reports whether a user can log in otherwise than by an app token.
func (u *Users) HasPassword(name string) bool {
	h, ok := u.hashes[name]
	return ok && h.text != NoPassword
}

// Kind returns the algorithm of the hash of a user: "argon2id", "bcrypt", "apr1", "SHA", or "none".
func (u *Users) Kind(name string) string { return u.hashes[name].kind }

// hashOf returns the hash against which the password of a user is checked. For a user that is unknown, or has no
// password, it returns the hash of another user, always of the same, so that the check takes as long, and known is
// false.
func (u *Users) hashOf(name string) (h hash, known bool) {
	if u.HasPassword(name) {
		return u.hashes[name], true
	}
	if len(u.hashed) == 0 {
		return u.fake, false
	}
	return u.hashes[u.hashed[maphash.String(u.seed, name)%uint64(len(u.hashed))]], false
}

// lineErrors collects the errors of the lines of a file, and prints the first few.
type lineErrors struct {
	first []error
	more  int
}

const toldLines = 10

func (e *lineErrors) add(line int, err error) {
	if len(e.first) == toldLines {
		e.more++
		return
	}
	e.first = append(e.first, fmt.Errorf("line %d: %w", line, err))
}

func (e *lineErrors) err() error {
	if e.more > 0 {
		e.first = append(e.first, fmt.Errorf("and %d more lines", e.more))
	}
	return errors.Join(e.first...)
}
