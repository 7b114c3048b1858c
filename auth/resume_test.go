package auth

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A login by the form goes on as long as the password or the app token is the one that was sent.
func TestALoginIsResumedWithTheSamePasswordAlone(t *testing.T) {
	now := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	file := filepath.Join(t.TempDir(), "users")
	set := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one, again, two := bcryptOf(t, "one"), bcryptOf(t, "one"), bcryptOf(t, "two")
	set(file, "ann:"+one+"\nbob:"+two+"\n")
	secret, token, err := NewToken("ann", "phone", now, now.Add(time.Hour), []string{"list", "read"})
	if err != nil {
		t.Fatal(err)
	}
	_, otherToken, err := NewToken("ann", "phone", now, now.Add(2*time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens, others := &Tokens{list: []Token{token}}, &Tokens{list: []Token{otherToken}}
	set(TokensFile(file), tokens.String())
	a, err := Open(Options{Users: file, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	visit := &Visit{Peer: netip.MustParseAddr("127.0.0.1"), Header: http.Header{}}
	login := func(password string) Principal {
		t.Helper()
		who, err := a.Now().Login(t.Context(), visit, "ann", password)
		if err != nil || who.Name != "ann" {
			t.Fatal(who, err)
		}
		return who
	}
	byPassword, byToken := login("one"), login(secret)
	proof, tokenProof := a.Now().Proof(byPassword), a.Now().Proof(byToken)
	for _, tt := range []struct {
		about, users, tokens string
		password, token      bool
		later                time.Duration
	}{
		{"nothing has changed", "ann:" + one + "\n", tokens.String(), true, true, 0},
		{"another user was added", "cy:" + two + "\nann:" + one + "\n", tokens.String(), true, true, 0},
		{"the password is another one", "ann:" + two + "\n", tokens.String(), false, true, 0},
		{"the password was set to the same anew", "ann:" + again + "\n", tokens.String(), false, true, 0},
		{"the user has no password any more", "ann:*\n", tokens.String(), false, true, 0},
		{"the user is gone", "bob:" + one + "\n", "", false, false, 0},
		{"the app token was revoked", "ann:" + one + "\n", "", true, false, 0},
		{"an app token has the same name", "ann:" + one + "\n", others.String(), true, false, 0},
		{"the app token has expired", "ann:" + one + "\n", tokens.String(), true, false, time.Hour},
		{"all is as it was", "ann:" + one + "\n", tokens.String(), true, true, 0},
	} {
		now = time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC).Add(tt.later)
		set(file, tt.users)
		set(TokensFile(file), tt.tokens)
		if err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		s := a.Now()
		if who, ok := s.Resume("ann", "", proof); ok != tt.password || who.Name == "ann" != ok {
			t.Errorf("%s: by the password %v, %v", tt.about, who, ok)
		}
		who, ok := s.Resume("ann", "phone", tokenProof)
		if ok != tt.token || ok && who.Without != All&^(List|Read) {
			t.Errorf("%s: by the app token %v, %v", tt.about, who, ok)
		}
		for _, wrong := range [][3]string{
			{"ann", "", ""}, {"ann", "", tokenProof}, {"ann", "phone", proof}, {"bob", "", proof}, {"", "", ""}, {"cy", "", ""},
			{"ann", "tablet", tokenProof},
		} {
			if who, ok := s.Resume(wrong[0], wrong[1], wrong[2]); ok {
				t.Errorf("%s: %q is resumed as %v", tt.about, wrong, who)
			}
		}
	}
}

// Who guesses by the form has no more tries than by Basic, and both are counted together, for users who are not there too.
func TestTheFormAndBasicShareTheirTries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("ann:"+bcryptOf(t, "one")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "nobody"} {
		now := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
		a, err := Open(Options{Users: file, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		a.guard.sleep = nil // a wrong password is answered later: that must not be asked for here
		a.guard.slowed.TryAcquire(maxSlowed)
		peer := netip.MustParseAddr("127.0.0.1")
		byForm := func(password string) error {
			_, err := a.Now().Login(t.Context(), &Visit{Peer: peer}, name, password)
			return err
		}
		byBasic := func(password string) error {
			r := http.Request{Header: http.Header{}}
			r.SetBasicAuth(name, password)
			_, _, err := a.Now().Identify(t.Context(), &Visit{Peer: peer, Header: r.Header})
			return err
		}
		var reasons []Reason
		for i := range 14 {
			try := byForm
			if i%2 == 0 {
				try = byBasic
			}
			refused := new(LoginError)
			if err := try("wrong"); !errors.As(err, &refused) {
				t.Fatal(err)
			}
			reasons = append(reasons, refused.Reason)
		}
		for i, reason := range reasons {
			if want := i >= int(perUser.most); (reason == TooMany) != want {
				t.Errorf("%s: the try %d is refused for %d", name, i, reason)
			}
		}
		if refused := new(LoginError); !errors.As(byForm("one"), &refused) || refused.Reason != TooMany {
			t.Errorf("%s: the right password after too many wrong ones: %v", name, refused)
		}
	}
}

// A session is for connections on which nobody can read the cookie, whatever is allowed for Basic.
func TestSessionsAreForConnectionsThatNobodyReads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("ann:"+bcryptOf(t, "one")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	near, far := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		about string
		users string
		visit Visit
		want  bool
	}{
		{"this machine", file, Visit{Peer: near}, true},
		{"https", file, Visit{Peer: far, Secure: true}, true},
		{"another machine", file, Visit{Peer: far}, false},
		{"a proxy of this machine, for another one", file, Visit{Peer: near, Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}, false},
		{"no passwords", "", Visit{Peer: near}, false},
	} {
		for _, insecure := range []bool{false, true} {
			opts := Options{Users: tt.users, InsecureBasic: insecure}
			if tt.users == "" {
				opts.Proxy = ProxyNames{UserHeader: "X-Remote-User", FromUnix: true, NewGroup: "new"}
			}
			a, err := Open(opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Now().TakesSessions(&tt.visit); got != tt.want {
				t.Errorf("%s, --insecure-basic %v: %v", tt.about, insecure, got)
			}
		}
	}
}
