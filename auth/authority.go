package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Options say where users and rules are. The zero value is a server without users, where everybody may do everything.
type Options struct {
	Users     string // the users file; "" for the one that the configuration names, if any
	Config    string // the configuration file; "" for none
	OldHashes bool   // take apr1 and {SHA} too
	// Anonymous is what everybody may do, beside what rules grant: [None], [ReadOnly] or [ReadWrite].
	Anonymous Effects
	Proxy     ProxyNames
	// InsecureBasic takes passwords over plain HTTP from other machines.
	InsecureBasic bool
	// Now is the clock (nil: time.Now).
	Now func() time.Time
}

// An Authority knows users and rules, and reads their files anew. It may be used by several goroutines at once.
type Authority struct {
	opts  Options
	guard *guard
	now   atomic.Pointer[Snapshot]

	mu    sync.Mutex
	files []seenFile // mu; that the snapshot, or the last failure, was made of
}

// Open reads the files. It fails where they cannot be used.
func Open(opts Options) (*Authority, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	g, err := newGuard(opts.Now)
	if err != nil {
		return nil, err
	}
	a := &Authority{opts: opts, guard: g}
	_, err = a.Reload(true)
	return a, err
}

// Reload reads the files anew where they have changed, or whatever they are if forced, and takes them over all
// together. Where one cannot be used, nothing is taken over, and the error says why: once for each change of a file.
// Requests that are under way keep their [Snapshot].
func (a *Authority) Reload(forced bool) (changed bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !forced && !a.haveChanged() {
		return false, nil
	}
	a.files = a.files[:0]
	s, err := a.load()
	if err != nil {
		return false, err
	}
	a.now.Store(s)
	return true, nil
}

// Now returns users and rules as they are now.
func (a *Authority) Now() *Snapshot { return a.now.Load() }

// load reads all files. mu must be held.
func (a *Authority) load() (*Snapshot, error) {
	config := &Config{}
	if a.opts.Config != "" {
		text, err := a.read(a.opts.Config, false)
		if err != nil {
			return nil, err
		}
		if config, err = ParseConfig(text); err != nil {
			return nil, &FileError{a.opts.Config, err}
		}
	}
	file := a.opts.Users
	if file == "" && config.Users != "" {
		if file = config.Users; !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(a.opts.Config), file)
		}
	}
	users, err := ParseUsers("", false)
	tokens := &Tokens{}
	if err != nil {
		return nil, err
	}
	if file != "" {
		text, err := a.read(file, false)
		if err != nil {
			return nil, err
		}
		if users, err = ParseUsers(text, a.opts.OldHashes); err != nil {
			return nil, &FileError{file, err}
		}
		if text, err = a.read(TokensFile(file), true); err != nil {
			return nil, err
		}
		if tokens, err = ParseTokens(text); err != nil {
			return nil, &FileError{TokensFile(file), err}
		}
	}
	return a.snapshot(config, file != "", users, tokens)
}

func (a *Authority) snapshot(config *Config, hasUsers bool, users *Users, tokens *Tokens) (*Snapshot, error) {
	logins, err := newLogins(a.guard, users, tokens)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{opts: &a.opts, config: config, logins: logins, passwords: hasUsers}
	s.hasUsers = hasUsers || a.opts.Proxy.UserHeader != ""
	s.Policies = NewPolicies(NewRules(s.rules()), Population{
		Users: users.Names(), Groups: config.Groups,
		NewGroup: a.opts.Proxy.NewGroup, ProxyGroups: a.opts.Proxy.GroupsHeader != "",
	})
	return s, nil
}

// A FileError is about one file. It says so in place of the configuration.
type FileError struct {
	File string
	Err  error
}

// Error implements error.
func (e *FileError) Error() string { return fmt.Sprintf("%s cannot be used: %v", e.File, e.Err) }

// Unwrap returns what is wrong with the file.
func (e *FileError) Unwrap() error { return e.Err }

// A seenFile tells whether a file is as it was read.
type seenFile struct {
	name string
	info os.FileInfo // nil where there was none
	sum  [sha256.Size]byte
	read time.Time
}

// coarse is how long after a change another one may have the same date.
const coarse = 2 * time.Second

func (a *Authority) haveChanged() bool {
	for i := range a.files {
		f := &a.files[i]
		info, err := os.Stat(f.name)
		if err != nil {
			info = nil
		}
		same := (info == nil) == (f.info == nil) && (info == nil || os.SameFile(info, f.info) &&
			info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() && info.Mode() == f.info.Mode())
		if !same {
			return true
		}
		if info != nil && f.read.Sub(f.info.ModTime()) < coarse { // another write may have the same date
			now := time.Now()
			content, _, err := readFile(f.name)
			if err != nil || sha256.Sum256(content) != f.sum {
				return true
			}
			f.read = now
		}
	}
	return false
}

// read reads a file, and remembers how it was. mu must be held.
func (a *Authority) read(name string, optional bool) (string, error) {
	seen := seenFile{name: name, read: time.Now()}
	content, info, err := readFile(name)
	seen.info, seen.sum = info, sha256.Sum256(content)
	a.files = append(a.files, seen)
	switch {
	case optional && errors.Is(err, iofs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", &FileError{name, err}
	case writableByOthers(info):
		return "", &FileError{name, errors.New("everybody on this machine can write it: chmod o-w")}
	}
	return string(bytes.TrimPrefix(content, []byte("\ufeff"))), nil
}

// readFile reads a file whole. That it is no regular one is an error.
func readFile(name string) ([]byte, os.FileInfo, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() { // a pipe might never end
		return nil, info, errors.New("it is not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, info, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return content, info, err
}

// A Snapshot is users and rules as they were at one moment. It does not change but for what it remembers of passwords.
type Snapshot struct {
	*Policies
	opts      *Options
	config    *Config
	logins    *logins
	passwords bool // there is a users file
	hasUsers  bool // somebody can be known
}

// Rules returns the rules that are in force, those that nobody has written down too.
func (s *Snapshot) Rules() []Rule { return s.rules() }

func (s *Snapshot) rules() []Rule {
	rules := s.config.Rules
	anonymous := Rule{Who: Who{Anonymous: true}, Effects: s.opts.Anonymous}
	switch {
	case len(rules) > 0 && anonymous.Effects != None:
		return append(rules[:len(rules):len(rules)], anonymous)
	case len(rules) > 0:
		return rules
	case !s.hasUsers && anonymous.Effects == ReadOnly:
		return []Rule{anonymous}
	case !s.hasUsers: // nobody could be told from anybody
		anonymous.Effects = All
		return []Rule{anonymous}
	}
	return []Rule{{Who: Who{Authenticated: true}, Effects: All}, anonymous}
}

// HasUsers reports whether anybody can be known: else everybody is anonymous, and nobody is asked.
func (s *Snapshot) HasUsers() bool { return s.hasUsers }

// Groups returns the groups that a principal is in.
func (s *Snapshot) Groups(who Principal) []string {
	access := s.Access(who)
	return access.groups
}

// AskLogin are patterns of User-Agents, see [Config].
func (s *Snapshot) AskLogin() []string { return s.config.AskLogin }

// Identify returns who sends a request, anonymous where it does not say. The error is a *[RequestError] (400, 403), a
// *[LoginError] (401, 429, 503), or that of ctx. A header that was dropped is told with and without an error.
//
// A wrong password is never anonymous: who sends one is to learn that it is wrong.
func (s *Snapshot) Identify(ctx context.Context, v *Visit) (who Principal, dropped *Dropped, err error) {
	if !s.hasUsers {
		return Principal{}, nil, nil
	}
	name, groups, dropped, err := s.opts.Proxy.named(v)
	if err != nil {
		return Principal{}, dropped, err
	}
	sent, given, err := credentials(v.Header)
	if err != nil {
		return Principal{}, dropped, err
	}
	if name != "" {
		who, err := s.proxied(name, groups, sent, given)
		return who, dropped, err
	}
	if !given {
		return Principal{}, dropped, nil
	}
	if err := s.CanAsk(v); err != nil {
		return Principal{}, dropped, err
	}
	client := v.Client
	if !client.IsValid() {
		client = v.Peer
	}
	if !s.passwords {
		return Principal{}, dropped, &LoginError{Reason: WrongPassword, From: client, Name: sent.name}
	}
	who, err = s.logins.check(ctx, client, sent.name, sent.password)
	return who, dropped, err
}

// proxied is who a proxy says it is.
func (s *Snapshot) proxied(name string, groups []string, sent basic, given bool) (Principal, error) {
	if given && sent.name != name {
		return Principal{}, badRequest("%s and Authorization name two users", s.opts.Proxy.UserHeader)
	}
	if !s.Knows(name) && s.opts.Proxy.NewGroup == "" {
		return Principal{}, &RequestError{http.StatusForbidden, "the proxy has named a user who is not known here"}
	}
	return Principal{Name: name, Groups: groups, Proxied: true}, nil
}

// CanAsk returns nil where a client may be asked for its password (401), and the 403 to answer with in place of that
// where the password could be read on the way. Only a request that is to be challenged, or sends a password, is
// answered so.
func (s *Snapshot) CanAsk(v *Visit) error {
	if !s.opts.InsecureBasic && !v.private() {
		return errPlain
	}
	return nil
}

// ChallengeHeader is the value of WWW-Authenticate (RFC 7617 §2, §2.1).
const ChallengeHeader = `Basic realm="ifmatch", charset="UTF-8"`
