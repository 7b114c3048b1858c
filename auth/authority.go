package auth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say where users and rules are. The zero value is a server without users, where each client may do
// everything.
type Options struct {
	Users     string // the users file, or "" for the one that the configuration names, if any
	Config    string // the configuration file, or "" for none
	OldHashes bool   // take apr1 and {SHA} too
	// Anonymous are the effects for each client, beside those that rules grant: [None], [ReadOnly] or [ReadWrite].
	Anonymous Effects
	Proxy     ProxyNames
	// InsecureBasic takes passwords over plain HTTP from other machines.
	InsecureBasic bool
	// Alike reports whether a disk may take two names for one, which differ in case or in another way (nil: none does).
	Alike func(a, b string) bool
	// Now is the clock (nil: time.Now).
	Now func() time.Time
}

// An Authority knows users and rules, and reads their files anew. It may be used by several goroutines at once.
type Authority struct {
	opts  Options
	guard *guard
	now   atomic.Pointer[Snapshot]
	clock atomic.Pointer[func() time.Time]

	mu       sync.Mutex
	files    []seenFile    // under mu: of which the snapshot, or the last failure, was made
	settling []os.FileInfo // under mu: the changed files as the last look has found them
}

// Open reads the files. It fails where they cannot be used.
func Open(opts Options) (*Authority, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	a := &Authority{opts: opts}
	a.clock.Store(&opts.Now)
	a.opts.Now = func() time.Time { return (*a.clock.Load())() }
	a.guard = newGuard(a.opts.Now)
	return a, a.Reload()
}

// CountWith has several servers count wrong passwords together, instead of each by itself. It must be called before the
// first password is checked, and may be called during a [Authority.Reload]. now is the clock of all of them, in place of that of the [Options].
func (a *Authority) CountWith(shared Counts, now func() time.Time) {
	a.guard.throttle.shared = shared
	a.clock.Store(&now)
}

// Reload reads all files and takes them over. If one of them cannot be used, nothing is taken over.
func (a *Authority) Reload() error {
	change, err := a.Look(true)
	if err == nil {
		change.Take()
	}
	return err
}

// A Change is users and rules that were read anew, and are not in force before they are taken over.
type Change struct {
	of *Authority
	s  *Snapshot
}

// Take puts the users and rules into force. Requests that are under way keep their [Snapshot].
func (c *Change) Take() { c.of.now.Store(c.s) }

// Look reads the files anew if they have changed, or in any case if forced, and returns nil if there is nothing new.
// Changed files are read at the second of two looks that find them alike, so that a file which is being written is left
// alone. A file that cannot be used is an error, once for each change.
func (a *Authority) Look(forced bool) (*Change, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !forced && !(a.haveChanged() && a.areSettled()) {
		return nil, nil
	}
	a.files, a.settling = a.files[:0], nil
	s, err := a.load()
	if err != nil {
		return nil, err
	}
	if before := a.now.Load(); before != nil {
		if err := before.checkWhole(s); err != nil {
			return nil, &FileError{a.opts.Config, err}
		}
	}
	return &Change{a, s}, nil
}

// Now returns users and rules as they are now.
func (a *Authority) Now() *Snapshot { return a.now.Load() }

// UserHeader returns the header in which a proxy names users, or "".
func (a *Authority) UserHeader() string { return a.opts.Proxy.UserHeader }

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
	read := sha256.New()
	if file != "" {
		text, err := a.read(file, false)
		if err != nil {
			return nil, Missing(file, err)
		}
		if users, err = ParseUsers(text, a.opts.OldHashes); err != nil {
			return nil, &FileError{file, err}
		}
		fmt.Fprintf(read, "%d %s", len(text), text)
		if text, err = a.read(TokensFile(file), true); err != nil {
			return nil, err
		}
		if tokens, err = ParseTokens(text); err != nil {
			return nil, &FileError{TokensFile(file), err}
		}
		tokens.dropFormer(users)
		io.WriteString(read, text)
	}
	// The passwords that were right are remembered as long as the files of users and tokens stay as they are.
	logins, sum := (*logins)(nil), [sha256.Size]byte(read.Sum(nil))
	if before := a.now.Load(); before != nil && before.logins.read == sum {
		logins = before.logins
	} else if logins, err = newLogins(a.guard, users, tokens); err != nil {
		return nil, err
	} else {
		logins.read = sum
	}
	return a.snapshot(config, file, logins), nil
}

func (a *Authority) snapshot(config *Config, file string, logins *logins) *Snapshot {
	s := &Snapshot{opts: &a.opts, config: config, logins: logins, usersFile: file, passwords: file != ""}
	s.hasUsers = file != "" || a.opts.Proxy.UserHeader != ""
	s.Policies = NewPolicies(NewRules(s.Rules()), Population{
		Users: logins.users.Names(), Groups: config.Groups,
		NewGroup: a.opts.Proxy.NewGroup, ProxyGroups: a.opts.Proxy.GroupsHeader != "",
	})
	s.Policies.alike = a.opts.Alike
	return s
}

// A FileError is about one file. It says so in place of the configuration.
type FileError struct {
	File string
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("%s cannot be used: %v", e.File, e.Err) }

// Unwrap returns the problem of the file.
func (e *FileError) Unwrap() error { return e.Err }

// Missing says of a users file that is not there how it is made. Other errors it returns as they are.
func Missing(file string, err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		err = fmt.Errorf("%w: make it with ifmatch user add --users %s NAME", err, file)
	}
	return err
}

// ReadUsers reads a users file for a command, which looks at old hashes too.
func ReadUsers(file string) (*Users, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, Missing(file, err)
	}
	users, err := ParseUsers(string(text), true)
	if err != nil {
		return nil, &FileError{file, err}
	}
	return users, nil
}

// NotIn returns the error of a command about a name that no user has.
func NotIn(file, name string) error {
	return fmt.Errorf("%s has no user %q: ifmatch user list --users %s has the names", file, name, file)
}

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
		if !sameFile(info, f.info) {
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

// areSettled reports whether the changed files are as the last look has found them.
func (a *Authority) areSettled() bool {
	now := make([]os.FileInfo, len(a.files))
	for i, f := range a.files {
		now[i], _ = os.Stat(f.name) // nil where there is none
	}
	settled := slices.EqualFunc(a.settling, now, sameFile)
	a.settling = now
	return settled
}

// sameFile reports whether two looks have found the same file, with the same content as far as a look can tell.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}

// read reads a file, and remembers how it was. mu must be held.
func (a *Authority) read(name string, optional bool) (string, error) {
	seen := seenFile{name: name, read: time.Now()}
	content, info, err := readFile(name)
	seen.info, seen.sum = info, sha256.Sum256(content)
	a.files = append(a.files, seen)
	if optional && errors.Is(err, iofs.ErrNotExist) {
		return "", nil
	}
	text, err := textOf(name, content, info, err)
	return strings.TrimPrefix(text, "\ufeff"), err
}

// textOf returns the result of [readFile] as a text, unless everybody can write the file.
func textOf(name string, content []byte, info os.FileInfo, err error) (string, error) {
	if err == nil && writableByOthers(info) {
		err = errors.New("everybody on this machine can write it: chmod o-w")
	}
	if err != nil {
		return "", &FileError{name, err}
	}
	return string(content), nil
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
	if after, failed := f.Stat(); err == nil && (failed != nil || !sameFile(info, after)) {
		err = errors.New("it was changed while it was read") // the next look finds another file than info
	}
	return content, info, err
}
