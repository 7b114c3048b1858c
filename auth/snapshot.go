package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// A Snapshot is users and rules as they were at one moment. It does not change but for the passwords that it
// remembers.
type Snapshot struct {
	*Policies
	opts      *Options
	config    *Config
	logins    *logins
	usersFile string
	passwords bool // there is a users file
	hasUsers  bool // a client can be known as a user
}

// UsersFile returns the name of the users file, or "" if there is none.
func (s *Snapshot) UsersFile() string { return s.usersFile }

// Sum returns a text that is the same for two servers that have the same users, app tokens, groups and rules, and tells none
// of them.
func (s *Snapshot) Sum() string {
	h := sha256.New()
	h.Write(s.logins.read[:])
	s.writeRules(h)
	for _, group := range slices.Sorted(maps.Keys(s.config.Groups)) {
		fmt.Fprintf(h, "%q %q\n", group, s.config.Groups[group])
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func (s *Snapshot) writeRules(w io.Writer) {
	for _, r := range s.Rules() {
		fmt.Fprintf(w, "%q %q %q %v %v %v %v\n", r.Path, r.Who.Users, r.Who.Groups, r.Who.Authenticated, r.Who.Anonymous,
			r.Effects, r.Require)
	}
}

// HasFiles reports whether users or rules are read from files.
func (s *Snapshot) HasFiles() bool { return s.usersFile != "" || s.opts.Config != "" }

// HasLogin reports whether a user is in the users file, so that a user who is removed is known to be gone.
func (s *Snapshot) HasLogin(name string) bool { return s.logins.users.Has(name) }

// Account returns the text of [Users.Account].
func (s *Snapshot) Account(name string) string { return s.logins.users.Account(name) }

// Holds reports whether a user is in the users file, and is the one who has made a thing: see [Users.Holds].
func (s *Snapshot) Holds(name, accounts string) bool { return s.logins.users.Holds(name, accounts) }

// CountUsers returns how many users there are in the users file.
func (s *Snapshot) CountUsers() int { return len(s.users) }

// Rules returns the rules that are in force, with those that no file has.
func (s *Snapshot) Rules() []Rule {
	rules := s.config.Rules
	anonymous := Rule{Who: Who{Anonymous: true}, Effects: s.opts.Anonymous}
	switch {
	case len(rules) > 0 && anonymous.Effects != None:
		return append(rules[:len(rules):len(rules)], anonymous)
	case len(rules) > 0:
		return rules
	case !s.hasUsers && anonymous.Effects == ReadOnly:
		return []Rule{anonymous}
	case !s.hasUsers: // no client could be told from another
		anonymous.Effects = All
		return []Rule{anonymous}
	}
	return []Rule{{Who: Who{Authenticated: true}, Effects: All}, anonymous}
}

// Access returns the rights of a principal. A user that is not in the users file any more, and that no proxy has
// named, is anonymous, and so is a user whose app token was revoked or has expired. By the share link of such a user nothing
// may be done.
func (s *Snapshot) Access(who Principal) Access {
	if who.Link != "" && !s.Holds(who.Name, who.Account) {
		return s.Policies.Access(who.gone())
	}
	if who.Token != "" {
		t, ok := s.logins.tokens.named(who.Name, who.Token, s.opts.Now())
		if !ok {
			return s.Policies.Access(who.gone())
		}
		who.Without |= t.without
	}
	return s.Policies.Access(who)
}

// AnonymousMay returns all effects that anonymous has on any path: the rights of each client that can reach the
// server.
func (s *Snapshot) AnonymousMay() Effects {
	all := None
	for _, path := range s.Open(Principal{}) {
		all |= path.Effects
	}
	return all
}

// Open returns the paths of rules on which a principal has effects, and these effects, in the order of the paths.
func (s *Snapshot) Open(who Principal) []ExplainedPath {
	access := s.Access(who)
	var open []ExplainedPath
	for _, set := range s.Policies.rules.sets {
		if e, _ := access.granted(set); e != None {
			open = append(open, ExplainedPath{set.path, e})
		}
	}
	slices.SortFunc(open, func(a, b ExplainedPath) int { return strings.Compare(a.Path.String(), b.Path.String()) })
	return open
}

// Doubts tells of rules and groups that cannot be meant, and may be: each names a user or a group that is not there.
func (s *Snapshot) Doubts() []string {
	var doubts []string
	if n := s.logins.tokens.former; n > 0 {
		doubts = append(doubts, fmt.Sprintf("%d app tokens in %s are not taken: their users were removed by hand, or have a new "+
			"password that ifmatch user passwd has not set", n, TokensFile(s.usersFile)))
	}
	isNone := func(name string) bool { return !s.Knows(name) && s.opts.Proxy.NewGroup == "" }
	for _, group := range slices.Sorted(maps.Keys(s.config.Groups)) {
		for _, name := range s.config.Groups[group] {
			if isNone(name) {
				doubts = append(doubts, fmt.Sprintf("the group %q has %q, who is no user", group, name))
			}
		}
	}
	for _, rule := range s.Rules() {
		for _, name := range rule.Who.Users {
			if isNone(name) {
				doubts = append(doubts, fmt.Sprintf("the rule for %s (line %d) names %q, who is no user", rule.Path,
					rule.Line, name))
			}
		}
		for _, group := range rule.Who.Groups {
			_, known := s.config.Groups[group]
			if !known && s.opts.Proxy.GroupsHeader == "" && group != s.opts.Proxy.NewGroup {
				doubts = append(doubts, fmt.Sprintf("the rule for %s (line %d) names @%s, which is no group",
					rule.Path, rule.Line, group))
			}
		}
	}
	return doubts
}

// HasUsers reports whether a client can be known as a user. Otherwise each is anonymous, and none is asked.
func (s *Snapshot) HasUsers() bool { return s.hasUsers }

// AskLogin are patterns of User-Agents, see [Config].
func (s *Snapshot) AskLogin() []string {
	if s.config.AskLogin == nil {
		return askLogin
	}
	return s.config.AskLogin
}

// askLogin are the clients of Microsoft: where they can read without a password, they stay anonymous, and cannot write.
var askLogin = []string{"Microsoft-WebDAV-MiniRedir/*", "DavClnt", "Microsoft Office*", "Microsoft Data Access*"}

// Identify returns the principal that sends a request, anonymous if the request does not say. The error is a
// *[RequestError] (400, 403), a *[LoginError] (401, 429, 503), or that of ctx. A header that was dropped is told with
// and without an error.
//
// A client with a wrong password is never anonymous: it is to learn that the password is wrong.
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
	switch {
	case !v.Session.Anonymous():
		return v.Session, dropped, nil
	case !given:
		return Principal{}, dropped, nil
	}
	if err := s.CanAsk(v); err != nil {
		return Principal{}, dropped, err
	}
	who, err = s.check(ctx, v, sent)
	return who, dropped, err
}

func (s *Snapshot) check(ctx context.Context, v *Visit, sent basic) (Principal, error) {
	if !s.passwords {
		return Principal{}, &LoginError{Reason: WrongPassword, From: v.from(), Name: sent.name}
	}
	return s.logins.check(ctx, v.from(), s.withoutDomain(sent.name), sent.password)
}

// TakesSessions reports whether a client can log in by a form: some users have passwords, and neither these nor a cookie
// can be read on the way. InsecureBasic is about Basic alone.
func (s *Snapshot) TakesSessions(v *Visit) bool { return s.passwords && v.private() }

// Login checks a name and a password, or an app token, that a form has sent. They count, and take as long, as those of
// Basic do: the errors are a *[LoginError], or that of ctx.
func (s *Snapshot) Login(ctx context.Context, v *Visit, name, password string) (Principal, error) {
	return s.check(ctx, v, basic{NormalName(name), normalPassword(password)})
}

// Proof returns a text that changes when the password or the app token of a principal does, and tells neither of them. It
// is "" for a principal who cannot have logged in by one.
func (s *Snapshot) Proof(who Principal) string {
	stored := ""
	if who.Token != "" {
		if t, ok := s.logins.tokens.named(who.Name, who.Token, s.opts.Now()); ok && s.logins.users.Has(who.Name) {
			stored = t.SHA256
		}
	} else if h, known := s.logins.users.hashOf(who.Name); known {
		stored = h.text
	}
	if stored == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(who.Name + "\x00" + who.Token + "\x00" + stored))
	return hex.EncodeToString(sum[:])
}

// Resume returns the principal who has logged in before with a proof. ok is false where the user or the app token is not
// there any more, or the password is another one.
func (s *Snapshot) Resume(user, token, proof string) (who Principal, ok bool) {
	who = Principal{Name: user, Token: token}
	if proof == "" || s.Proof(who) != proof {
		return Principal{}, false
	}
	if t, ok := s.logins.tokens.named(user, token, s.opts.Now()); token != "" && ok {
		who.Without = t.without
	}
	return who, true
}

// withoutDomain returns a name without the domain that Windows puts before it, unless a user has the whole for a name.
func (s *Snapshot) withoutDomain(name string) string {
	if at := strings.LastIndexByte(name, '\\'); at >= 0 && !s.Knows(name) {
		return name[at+1:]
	}
	return name
}

// proxied returns the user that a proxy has named.
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

// CheckPassword checks the password that a request sends for a thing with a password of its own, such as a share link,
// under any user name (RFC 7617). subject is what wrong ones are counted for, as those of a user are, and hash is one of
// [NewHash]. given is false if the request has none. The error is one of [Snapshot.Identify].
func (s *Snapshot) CheckPassword(ctx context.Context, v *Visit, subject, hash string) (given bool, err error) {
	if err := s.CanAsk(v); err != nil {
		return false, err
	}
	sent, given, err := credentials(v.Header)
	if err != nil || !given {
		return false, err
	}
	stored, err := parseHash(hash, false)
	if err != nil {
		return true, err
	}
	return true, s.logins.checkHash(ctx, v.from(), subject, sent.password, stored, true)
}

// CheckHash returns nil for a hash of [NewHash].
func CheckHash(text string) error {
	_, err := parseHash(text, false)
	return err
}

// ChallengeHeader is the value of WWW-Authenticate (RFC 7617 §2, §2.1).
const ChallengeHeader = `Basic realm="ifmatch", charset="UTF-8"`

// SameLogin reports whether the password or the app token with which a principal has logged in before would still be
// taken. The rights that it gives are another question, see [Snapshot.Generation].
func (s *Snapshot) SameLogin(before *Snapshot, who Principal) bool {
	switch {
	case who.Anonymous() || who.Proxied:
		return true
	case who.Token != "":
		now, ok := s.logins.tokens.named(who.Name, who.Token, s.opts.Now())
		was, known := before.logins.tokens.byName[[2]string{who.Name, who.Token}]
		return ok && known && now.SHA256 == was.SHA256 && s.Knows(who.Name)
	}
	now, ok := s.logins.users.hashOf(who.Name)
	was, known := before.logins.users.hashOf(who.Name)
	return ok && known && now.text == was.text
}

// Generation returns a text that changes when the rights of a principal can have changed: with the rules, with its
// groups, and with its app token. It is the same after a restart.
func (s *Snapshot) Generation(a *Access) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %v\n", a.who.Name, a.groups, a.who.Without)
	s.writeRules(h)
	return hex.EncodeToString(h.Sum(nil))
}
