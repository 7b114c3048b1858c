package auth

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// bcryptOf is cheap.
func bcryptOf(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

const (
	apr1 = "$apr1$zsF6GBbE$4A0hCVXRSPVtivOZhstH4/" // of "password", by openssl passwd
	sha  = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="     // of "password"
)

func TestUsersFileIsRead(t *testing.T) {
	u, err := ParseUsers("# the office\n\nalice:"+bcryptOf(t, "one")+"\r\nBob Smith:"+bcryptOf(t, "two")+"\n", false)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(u.Names(), "|"); got != "alice|Bob Smith" {
		t.Error(got)
	}
	if u, err = ParseUsers("alice:"+bcryptOf(t, "one")+"\r\nBob Smith:"+bcryptOf(t, "two")+"\nsso:*\n",
		false); err != nil || !u.Has("sso") {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, password string
		known, right   bool
	}{
		{"sso", "*", false, false},
		{"alice", "one", true, true}, {"alice", "two", true, false}, {"Bob Smith", "two", true, true},
		{"carol", "one", false, false},
	} {
		h, known := u.hashOf(tt.name)
		if right := known && h.matches(tt.password); known != tt.known || right != tt.right {
			t.Errorf("%+v: %t, %t", tt, known, right)
		}
	}
}

func TestUsersFileWithErrorsIsNotTaken(t *testing.T) {
	good := "alice:" + bcryptOf(t, "one") + "\n"
	for text, want := range map[string]string{
		good + "bob\n":                             "line 2: there is no colon",
		good + good:                                `line 2: the user "alice" is on another line`,
		good + "bob:secret\n":                      "line 2: the password is not hashed",
		good + "bob:\n":                            "line 2: the password is not hashed",
		good + "bob:" + apr1 + "\n":                "line 2: apr1 and {SHA} are old",
		good + "bob:" + sha + "\n":                 "line 2: apr1 and {SHA} are old",
		good + "anonymous:" + bcryptOf(t, "x"):     `line 2: "anonymous" is not the name`,
		good + "a\x01b:" + bcryptOf(t, "x"):        "line 2: a name cannot have control characters",
		good + "Cafe\u0301:" + bcryptOf(t, "x"):    "line 2: a name is not in the normal form NFC",
		good + ":" + bcryptOf(t, "x"):              "line 2: a name is empty",
		good + "@x:" + bcryptOf(t, "x"):            "line 2: a name cannot begin with @",
		"bob:$argon2id$v=19$m=8,t=1,p=0$c29t$c29t": "line 1: the argon2id hash",
		"bob:$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA": "line 1: the argon2id hash",
		"bob:$argon2id$v=19x$m=64,t=1,p=1$c29tZXNhbHQ$c29tZXNhbHRzb21lc2FsdA":        "line 1: the argon2id hash is malformed",
		"bob:$2y$31$" + strings.Repeat("a", 53):                                      "line 1: the cost",
		strings.Repeat("x\n", 12):                                                    "and 2 more lines",
	} {
		u, err := ParseUsers(text, false)
		if err == nil || u != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestOldHashesWhereTheyAreTold(t *testing.T) {
	u, err := ParseUsers("bob:"+sha+"\nann:"+apr1+"\n", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range u.Names() {
		if h, _ := u.hashOf(name); !h.matches("password") || h.matches("other") {
			t.Error(h.text)
		}
	}
}

func TestBcryptTakesNoMoreThanItLooksAt(t *testing.T) {
	long := strings.Repeat("x", 72)
	h, err := parseHash(bcryptOf(t, long), false)
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches(long) || h.matches(long+"y") {
		t.Error("the 73rd byte does not count")
	}
}

func TestNewHashes(t *testing.T) {
	text, err := NewHash(strings.Repeat("long ", 20))
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHash(text, false)
	if err != nil || !strings.HasPrefix(text, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatal(text, err)
	}
	if !h.matches(strings.Repeat("long ", 20)) || h.matches(strings.Repeat("long ", 19)) {
		t.Error("it is of another password")
	}
	for _, bad := range []string{"", "a\nb", strings.Repeat("x", 1025)} {
		if _, err := NewHash(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestUnknownUsersAreCheckedAgainstTheSameHashAlways(t *testing.T) {
	var file strings.Builder
	for _, name := range []string{"a", "b", "c", "d"} {
		file.WriteString(name + ":" + bcryptOf(t, name) + "\n")
	}
	u, err := ParseUsers(file.String(), false)
	if err != nil {
		t.Fatal(err)
	}
	first, known := u.hashOf("nobody")
	for range 10 {
		if h, _ := u.hashOf("nobody"); known || h.text != first.text || h.text == u.fake.text {
			t.Fatal("another hash")
		}
	}
	empty, err := ParseUsers("", false)
	if err != nil {
		t.Fatal(err)
	}
	if h, known := empty.hashOf("nobody"); known || h.text != fakeHash || h.matches("") {
		t.Error(h.text, known)
	}
}

func FuzzUsers(f *testing.F) {
	f.Add("alice:$2y$05$/VmnHTlmRvRVXm9nfXQ6bOQTvCHDq4h0jb/kDKxKxIZGGVQtyBwhi\n#x\n")
	f.Add("a:" + apr1 + "\nb:" + sha + "\r\n")
	f.Add("a:" + fakeHash)
	f.Add("a:*\nb:*")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseUsers(text, true)
		if err != nil {
			return
		}
		for _, name := range u.Names() {
			if CheckName(name) != nil {
				t.Errorf("a user is called %q", name)
			}
			h, known := u.hashOf(name)
			if known != u.HasPassword(name) || known && !strings.Contains(text, name+":"+h.text) {
				t.Errorf("%q has another hash", name)
			}
		}
	})
}

func TestEditingKeepsWhatItDoesNotTouch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	text := "# the office\n\nalice:old\nbob:b\n"
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Skip("NOT RUN: ", err)
	}
	for _, edit := range []func([]string) ([]string, error){
		func(l []string) ([]string, error) { return SetUser(l, "alice", "new"), nil },
		func(l []string) ([]string, error) { return SetUser(l, "carol", "c"), nil },
		func(l []string) ([]string, error) { l, _ = RemoveUser(l, "bob"); return l, nil },
	} {
		if err := EditUsers(link, edit); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != "# the office\n\nalice:new\ncarol:c\n" {
		t.Errorf("%q, %v", got, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(file)); len(entries) != 1 {
		t.Errorf("litter: %v", entries)
	}
	if target, err := os.Readlink(link); err != nil || target != file {
		t.Error("the link was replaced")
	}
}

func TestANewUsersFileIsForItsOwnerAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if err := EditUsers(file, func(l []string) ([]string, error) { return SetUser(l, "a", "h"), nil }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if got, _ := os.ReadFile(file); err != nil || info.Mode().Perm() != 0o600 || string(got) != "a:h\n" {
		t.Errorf("%v, %q, %v", info.Mode(), got, err)
	}
}

func TestEditsAtOnceAreAllThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	var all sync.WaitGroup
	for _, name := range strings.Split("abcdefghij", "") {
		all.Go(func() {
			if err := EditUsers(file, func(l []string) ([]string, error) {
				return SetUser(l, name, "h"),
					nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := os.ReadFile(file); err != nil || strings.Count(string(got), ":h\n") != 10 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTokensFile(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	secret, token, err := NewToken("alice", "phone", now, now.Add(time.Hour), []string{"list", "read"})
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) != len(tokenPrefix)+43 || !strings.HasPrefix(secret, tokenPrefix) {
		t.Errorf("%q", secret)
	}
	add := func(ts *Tokens) error { return ts.Add(token) }
	if err := EditTokens(users, add); err != nil {
		t.Fatal(err)
	}
	if err := EditTokens(users, add); err == nil {
		t.Error("the same name twice")
	}
	info, err := os.Stat(TokensFile(users))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	text, err := os.ReadFile(TokensFile(users))
	if err != nil || strings.Contains(string(text), secret) {
		t.Fatalf("%s, %v", text, err)
	}
	ts, err := ParseTokens(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := ts.find("alice", secret, now); !ok || got.Name != "phone" || got.without != All&^ReadOnly {
		t.Errorf("%+v, %t", got, ok)
	}
	for _, tt := range []struct {
		user, secret string
		at           time.Time
	}{{"bob", secret, now}, {"alice", secret + "x", now}, {"alice", secret, now.Add(time.Hour)},
		{"alice", token.SHA256, now}} {
		if _, ok := ts.find(tt.user, tt.secret, tt.at); ok {
			t.Errorf("%+v is taken", tt)
		}
	}
	if n := ts.Revoke("alice", "tablet"); n != 0 || len(ts.All()) != 1 {
		t.Error(n)
	}
	if n := ts.Revoke("alice", "phone"); n != 1 || ts.String() != "" {
		t.Error(n, ts)
	}
}

func TestTokensFileWithErrorsIsNotTaken(t *testing.T) {
	good := `{"user":"alice","name":"phone","sha256":"` + strings.Repeat("ab", 32) +
		`","created":"2026-01-01T00:00:00Z","expires":"2027-01-01T00:00:00Z"}`
	for text, want := range map[string]string{
		good + "\n" + good: "line 2: the token \"phone\" of \"alice\" is on another line",
		good + " x":        "line 1: there is something behind",
		strings.Replace(good, "expires", "expire", 1):                     "line 1: not a token",
		strings.Replace(good, "ab", "AB", 1):                              "line 1: sha256",
		strings.Replace(good, "ab", "", 1):                                "line 1: sha256",
		strings.Replace(good, "alice", "a:b", 1):                          "line 1: user: a name cannot have a colon",
		strings.Replace(good, "phone", "", 1):                             "line 1: name: a name is empty",
		strings.TrimSuffix(good, "}") + `,"effects":["fly"]}`:             `line 1: there is no effect "fly"`,
		strings.Replace(good, `,"expires":"2027-01-01T00:00:00Z"`, "", 1): "line 1: it has no expiry",
	} {
		if _, err := ParseTokens(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func FuzzTokens(f *testing.F) {
	f.Add(`{"user":"alice","name":"phone","sha256":"` + strings.Repeat("ab", 32) +
		`","created":"2026-01-01T00:00:00Z","expires":"2027-01-01T00:00:00Z","effects":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		ts, err := ParseTokens(text)
		if err != nil {
			return
		}
		again, err := ParseTokens(ts.String())
		if err != nil || again.String() != ts.String() || len(again.All()) != len(ts.All()) {
			t.Errorf("%q became %q, %v", text, ts, err)
		}
		for i := range again.All() {
			if again.list[i].without != ts.list[i].without {
				t.Errorf("%q: effects changed", text)
			}
		}
	})
}
