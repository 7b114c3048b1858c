package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Token is an app token: it is sent in place of the password of a user, by one device.
type Token struct {
	User    string    `json:"user"`
	Name    string    `json:"name"`   // of the device, different for each token of the user
	SHA256  string    `json:"sha256"` // of the token as it is sent, in hex
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Effects restricts the token to some of the effects of its user. nil stands for all of them.
	Effects []string `json:"effects,omitzero"`
	// Account is the account that has made it, as [Users.Holds] takes it, so that it ends with a user who is removed by
	// hand. "" is in files of earlier versions: it is of each user of that name.
	Account string `json:"account,omitempty"`

	without Effects
}

// tokenPrefix is how every app token begins, for those who search files for secrets.
const tokenPrefix = "ifmatch_"

// NewToken makes a token of 256 random bits. The secret is to be shown once, and the Token to be kept.
func NewToken(user, name string, created, expires time.Time, effects []string) (secret string, t Token, err error) {
	var random [32]byte
	rand.Read(random[:]) // it never fails
	secret = tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	t = Token{User: user, Name: name, SHA256: SumOfToken(secret), Effects: effects,
		Created: created.UTC().Truncate(time.Second), Expires: expires.UTC().Truncate(time.Second)}
	return secret, t, t.check()
}

// SumOfToken returns the SHA-256 of a token in hex, as files keep it.
func SumOfToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// CheckSumOfToken returns nil for what [SumOfToken] can return.
func CheckSumOfToken(text string) error {
	if sum, err := hex.DecodeString(text); err != nil || len(sum) != sha256.Size || text != strings.ToLower(text) {
		return errors.New("sha256 is not a SHA-256 in lower-case hex")
	}
	return nil
}

// check validates the fields of a line.
func (t *Token) check() error {
	if err := CheckName(t.User); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if err := CheckName(t.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if err := CheckSumOfToken(t.SHA256); err != nil {
		return err
	}
	if t.Expires.IsZero() {
		return errors.New("it has no expiry")
	}
	if err := CheckAccounts(t.Account); err != nil {
		return err
	}
	t.without = None
	if t.Effects != nil {
		granted, err := ParseEffects(t.Effects)
		if err != nil {
			return err
		}
		t.without = All &^ granted
	}
	return nil
}

// Tokens is the content of a tokens file.
type Tokens struct {
	list   []Token
	bySum  map[string]*Token
	byName map[[2]string]*Token // by user and name
	former int                  // how many are of an earlier user of a name
}

// ParseTokens reads a tokens file: a JSON object a line. The error tells all lines that cannot be read.
func ParseTokens(text string) (*Tokens, error) {
	ts := &Tokens{bySum: map[string]*Token{}, byName: map[[2]string]*Token{}}
	var errs lineErrors
	n := 0
	for line := range strings.Lines(text) {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		t, err := parseToken(line)
		key := [2]string{t.User, t.Name}
		if _, again := ts.bySum[t.SHA256]; err == nil && (again || ts.byName[key] != nil) {
			err = fmt.Errorf("the token %q of %q is on another line too", t.Name, t.User)
		}
		if err != nil {
			errs.add(n, err)
			continue
		}
		ts.list = append(ts.list, t)
		kept := &t
		ts.bySum[t.SHA256], ts.byName[key] = kept, kept
	}
	if err := errs.err(); err != nil {
		return nil, err
	}
	return ts, nil
}

func parseToken(line string) (t Token, err error) {
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return t, fmt.Errorf("not a token: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return t, errors.New("there is something behind the token")
	}
	return t, t.check()
}

// String writes the tokens as [ParseTokens] reads them.
func (ts *Tokens) String() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, t := range ts.list {
		e.Encode(t) // into memory, of strings and times that were read from JSON or checked
	}
	return b.String()
}

// All returns the tokens in the order of the file.
func (ts *Tokens) All() []Token { return ts.list }

// Add adds a token. It fails if its user has a token of that name already.
func (ts *Tokens) Add(t Token) error {
	if slices.ContainsFunc(ts.list, func(other Token) bool { return other.User == t.User && other.Name == t.Name }) {
		return fmt.Errorf("%s has a token %q already: revoke it first, or give the new one another name", t.User, t.Name)
	}
	ts.list = append(ts.list, t)
	return nil
}

// Revoke removes the token of a user that has a name, or all tokens of the user if the name is "". It returns how
// many.
func (ts *Tokens) Revoke(user, name string) int {
	before := len(ts.list)
	ts.list = slices.DeleteFunc(ts.list, func(t Token) bool { return t.User == user && (name == "" || t.Name == name) })
	return before - len(ts.list)
}

// Carry keeps the tokens of a user when the hash of the password becomes another one.
func (ts *Tokens) Carry(u *Users, user, hash string) {
	for i := range ts.list {
		if t := &ts.list[i]; t.User == user {
			t.Account = u.Carried(user, t.Account, hash)
		}
	}
}

// dropFormer makes the tokens useless that are of an earlier user of a name.
func (ts *Tokens) dropFormer(u *Users) {
	for _, t := range ts.list {
		if u.Has(t.User) && !u.Holds(t.User, t.Account) {
			delete(ts.bySum, t.SHA256)
			delete(ts.byName, [2]string{t.User, t.Name})
			ts.former++
		}
	}
}

// find returns the token that was sent as the password of a user, if it is one and has not expired.
func (ts *Tokens) find(user, password string, now time.Time) (*Token, bool) {
	if !strings.HasPrefix(password, tokenPrefix) {
		return nil, false
	}
	// The time of this comparison may tell of a sum, which is of no use without the secret.
	t, ok := ts.bySum[SumOfToken(password)]
	return t, ok && t.User == user && now.Before(t.Expires)
}

// named returns the token of a user that has a name, if there is one and it has not expired.
func (ts *Tokens) named(user, name string, now time.Time) (*Token, bool) {
	t, ok := ts.byName[[2]string{user, name}]
	return t, ok && now.Before(t.Expires)
}
