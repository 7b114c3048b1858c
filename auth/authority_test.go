package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write makes files in a directory of the test, and returns their paths by their names.
func write(t *testing.T, files map[string]string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	paths := map[string]string{}
	for name, text := range files {
		paths[name] = filepath.Join(dir, name)
		if err := os.WriteFile(paths[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// login returns the user of a name and a password.
func login(t *testing.T, a *Authority, sent string) string {
	t.Helper()
	v := &Visit{Peer: here, Client: here, Secure: true, Header: http.Header{"Authorization": {basicOf(sent)}}}
	who, _, err := a.Now().Identify(t.Context(), v)
	if err != nil {
		return reasonOf(err)
	}
	return who.String()
}

// renew takes changed files over, when they are settled.
func renew(a *Authority) (changed bool, err error) {
	for range 2 {
		change, err := a.Look(false)
		if err != nil {
			return false, err
		}
		if change != nil {
			change.Take()
			return true, nil
		}
	}
	return false, nil
}

func TestFilesAreReadAnewTogetherOrNotAtAll(t *testing.T) {
	one, two := "alice:"+bcryptOf(t, "one")+"\n", "alice:"+bcryptOf(t, "two")+"\n"
	const open = "users = 'users'\n[[rule]]\npath = '/'\nwho = ['authenticated']\neffects = ['all']\n"
	files := write(t, map[string]string{"users": one, "config": open})
	a, err := Open(Options{Config: files["config"]})
	if err != nil {
		t.Fatal(err)
	}
	a.guard.sleep = func(context.Context, time.Duration) error { return nil }
	reload := func(changed bool, problem string) {
		t.Helper()
		got, err := renew(a)
		if got != changed || (err != nil) != (problem != "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Errorf("%t, %v; want %t, %s", got, err, changed, problem)
		}
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(files[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	state := func(want string) {
		t.Helper()
		access := a.Now().Access(Principal{Name: "alice"})
		got := fmt.Sprint(login(t, a, "alice:one"), " ", login(t, a, "alice:two"), " ", access.Effects("x"))
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	state("alice wrong all")
	reload(false, "")
	put("config", "users = 'users'\n") // an editor that has emptied it, or a disk that was full
	reload(false, "no rules any more")
	put("config", open)
	reload(true, "")
	put("users", two)
	reload(true, "")
	state("wrong alice all")
	put("users", one+"bob\n")
	reload(false, "line 2: there is no colon")
	reload(false, "") // said once
	state("wrong alice all")
	put("config", strings.Replace(open, "'all'", "'read'", 1))
	reload(false, "line 2: there is no colon") // together, or not at all
	state("wrong alice all")
	put("users", one)
	reload(true, "")
	state("alice wrong read")
	put("config", "rulez = 1\n")
	reload(false, `the key "rulez" is not known`)
	state("alice wrong read")
	if err := os.Remove(files["users"]); err != nil {
		t.Fatal(err)
	}
	put("config", open)
	reload(false, "no such file")
	state("alice wrong read")
	put("users", two)
	reload(true, "")
	state("wrong alice all")
}

// TestFilesThatWereCutOff: a configuration of which only a part was written is not taken for the whole.
func TestFilesThatWereCutOff(t *testing.T) {
	rule := func(path, who, effects string) string {
		return fmt.Sprintf("[[rule]]\npath = '/%s'\nwho = ['%s']\neffects = [%s]\n", path, who, effects)
	}
	root, a, b := rule("", "anonymous", "'list', 'read'"), rule("a", "anonymous", ""), rule("b", "anonymous", "")
	three, two := root+a+b, root+a
	counted, grants := "rule-count = 3\n"+three, three+rule("c", "anonymous", "'all'")
	user := root + rule("*/x", "authenticated", "'all'") + rule("home/{user}", "anonymous", "")
	tests := []struct{ name, before, after, problem string }{
		{"in the middle of a line", three, three[:len(three)-1], "its last line has no end"},
		{"between two rules", three, two, "it is the beginning of the file that is in force"},
		{"within a rule", three, two + "[[rule]]\npath = '/b'\n", "it needs path, who and effects"},
		{"between two rules that are counted", counted, "rule-count = 3\n" + two, "it says rule-count = 3, and has 2"},
		{"before the first rule", three, "# nothing\n", "it has no rules any more"},
		{"not at all: fewer rules that are counted", counted, "rule-count = 2\n" + two, ""},
		{"not at all: a rule less in the middle", three, root + b, ""},
		{"not at all: the last rule has granted something", grants, three, ""},
		{"between two rules that grant and close", grants, two, "and grants more on /b"},
		{"before {user}", user, root + rule("*/x", "authenticated", "'all'"), "and grants more on /home/{user}"},
		{"not at all: more rules", two, three, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := write(t, map[string]string{"config": tt.before})
			a, err := Open(Options{Config: files["config"]})
			if err != nil {
				t.Fatal(err)
			}
			before := a.Now()
			if err := os.WriteFile(files["config"], []byte(tt.after), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = renew(a)
			if (err != nil) != (tt.problem != "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%v, want %q", err, tt.problem)
			}
			if (a.Now() != before) != (tt.problem == "") {
				t.Errorf("taken over: %v", a.Now() != before)
			}
		})
	}
}

// TestFilesThatAreBeingWritten: a file is not read before two looks have found it alike.
func TestFilesThatAreBeingWritten(t *testing.T) {
	files := write(t, map[string]string{"users": "alice:*\n"})
	a, err := Open(Options{Users: files["users"]})
	if err != nil {
		t.Fatal(err)
	}
	text := "alice:*\n"
	for i := range 5 {
		text += fmt.Sprintf("user%d:*\n", i)
		if err := os.WriteFile(files["users"], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if change, err := a.Look(false); change != nil || err != nil {
			t.Fatalf("it was read while it grows: %v", err)
		}
	}
	change, err := a.Look(false)
	if change == nil || err != nil {
		t.Fatalf("it was not read when it had settled: %v", err)
	}
	if a.Now().Knows("user4") {
		t.Error("it is in force before it was taken over")
	}
	if change.Take(); !a.Now().Knows("user4") {
		t.Error("it is not in force")
	}
}

// TestAChangeAtTheSameDateIsSeen: some disks give two writes one date.
func TestAChangeAtTheSameDateIsSeen(t *testing.T) {
	one := "alice:" + bcryptOf(t, "one") + "\n"
	files := write(t, map[string]string{"users": one})
	date := time.Now().Add(time.Hour) // so that it is as if it were now, however slow the test is
	chtimes := func() {
		if err := os.Chtimes(files["users"], date, date); err != nil {
			t.Fatal(err)
		}
	}
	chtimes()
	a, err := Open(Options{Users: files["users"]})
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := renew(a); changed || err != nil {
		t.Errorf("%t, %v", changed, err)
	}
	if err := os.WriteFile(files["users"], []byte("alice:"+bcryptOf(t, "two")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	chtimes()
	if changed, err := renew(a); !changed || err != nil {
		t.Errorf("%t, %v", changed, err)
	}
	if got := login(t, a, "alice:two"); got != "alice" {
		t.Error(got)
	}
}

// TestRulesKeepPasswords: passwords that were right stay remembered when the rules alone change, and not when the users do.
func TestRulesKeepPasswords(t *testing.T) {
	files := write(t, map[string]string{"users": "alice:" + bcryptOf(t, "one") + "\n", "config": "# one\n"})
	a, err := Open(Options{Users: files["users"], Config: files["config"]})
	if err != nil {
		t.Fatal(err)
	}
	login(t, a, "alice:one")
	for _, tt := range []struct {
		file, text string
		want       int
	}{{"config", "# two\n", 1}, {"users", "alice:" + bcryptOf(t, "one") + "\n# three\n", 0}} {
		if err := os.WriteFile(files[tt.file], []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		if got := a.Now().logins.proved.Len(); got != tt.want {
			t.Errorf("with a changed %s, %d passwords are remembered, want %d", tt.file, got, tt.want)
		}
		login(t, a, "alice:one")
	}
}

func TestTokensAreReadAnew(t *testing.T) {
	files := write(t, map[string]string{"users": "alice:" + bcryptOf(t, "one") + "\n"})
	a, err := Open(Options{Users: files["users"]})
	if err != nil {
		t.Fatal(err)
	}
	a.guard.sleep = func(context.Context, time.Duration) error { return nil }
	secret, token, err := NewToken("alice", "phone", time.Now(), time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := EditTokens(files["users"], func(ts *Tokens) error { return ts.Add(token) }); err != nil {
		t.Fatal(err)
	}
	if _, err := renew(a); err != nil {
		t.Fatal(err)
	}
	if got := login(t, a, "alice:"+secret); got != "alice/phone" {
		t.Error(got)
	}
	underWay := func() Effects {
		access := a.Now().Access(Principal{Name: "alice", Token: "phone"})
		return access.Effects("x")
	}
	if got := underWay(); got != All {
		t.Errorf("a request by the token may do %s", got)
	}
	for range 30 {
		login(t, a, "alice:wrong")
	}
	if got := login(t, a, "alice:one"); got != "too many" {
		t.Errorf("a right password after many wrong ones: %s", got)
	}
	if got := login(t, a, "alice:"+secret); got != "alice/phone" {
		t.Errorf("the token after many wrong passwords: %s", got)
	}
	if err := EditTokens(files["users"], func(ts *Tokens) error { ts.Revoke("alice", ""); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := renew(a); err != nil {
		t.Fatal(err)
	}
	if got := login(t, a, "alice:"+secret); got != "too many" {
		t.Error(got)
	}
	if got := underWay(); got != None {
		t.Errorf("a request by the token that was revoked meanwhile may do %s", got)
	}
}

func TestFilesThatAnybodyCanWriteAreNotTaken(t *testing.T) {
	files := write(t, map[string]string{"users": ""})
	if err := os.Chmod(files["users"], 0o666); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(files["users"]); err != nil || !writableByOthers(info) {
		t.Skip("NOT RUN: no such mode here")
	}
	if _, err := Open(Options{Users: files["users"]}); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Error(err)
	}
	if _, err := Open(Options{Users: filepath.Dir(files["users"])}); err == nil {
		t.Error("a directory was taken")
	}
}

func TestDefaults(t *testing.T) {
	files := write(t, map[string]string{
		"users": "alice:" + bcryptOf(t, "one") + "\n",
		"rules": "[[rule]]\npath = '/a'\nwho = ['alice']\neffects = ['read']\n",
	})
	for _, tt := range []struct {
		about            string
		opts             Options
		alice, anonymous string
		hasUsers         bool
	}{
		{"nothing", Options{}, All.String(), All.String(), false},
		{"write", Options{Anonymous: ReadWrite}, All.String(), All.String(), false},
		{"read", Options{Anonymous: ReadOnly}, "list,read", "list,read", false},
		{"users", Options{Users: files["users"]}, All.String(), "none", true},
		{"users, read", Options{Users: files["users"], Anonymous: ReadOnly}, All.String(), "list,read", true},
		{"users, write", Options{Users: files["users"], Anonymous: ReadWrite}, All.String(),
			"list,read,create,replace,remove,props,lock", true},
		{"users, rules", Options{Users: files["users"], Config: files["rules"]}, "none", "none", true},
		{"users, rules, read", Options{Users: files["users"], Config: files["rules"], Anonymous: ReadOnly},
			"list,read", "list,read", true},
	} {
		a, err := Open(tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		alice, anonymous := a.Now().Access(Principal{Name: "alice"}), a.Now().Access(Principal{})
		if got := alice.Effects("x").String(); got != tt.alice {
			t.Errorf("%s: alice has %s", tt.about, got)
		}
		if got := anonymous.Effects("x").String(); got != tt.anonymous || a.Now().HasUsers() != tt.hasUsers {
			t.Errorf("%s: anonymous has %s, users: %t", tt.about, got, a.Now().HasUsers())
		}
	}
}

func TestWhatIsOpenToWhom(t *testing.T) {
	files := write(t, map[string]string{
		"users": "alice:" + bcryptOf(t, "one") + "\n",
		"rules": "[groups]\nb = ['alice', 'eve']\n[[rule]]\npath = '/drop'\nwho = ['anonymous']\neffects = ['create']\n" +
			"[[rule]]\npath = '/a'\nwho = ['alice', 'bob', '@x']\neffects = ['read']\n",
	})
	a, err := Open(Options{Users: files["users"], Config: files["rules"]})
	if err != nil {
		t.Fatal(err)
	}
	s := a.Now()
	if got := fmt.Sprint(s.AnonymousMay(), s.Open(Principal{}), s.Open(Principal{Name: "alice"})); got !=
		"create [{/drop create}] [{/a read} {/drop create}]" {
		t.Error(got)
	}
	if got := strings.Join(s.Doubts(), "; "); got !=
		`the group "b" has "eve", who is no user; the rule for /a (line 7) names "bob", who is no user; `+
			`the rule for /a (line 7) names @x, which is no group` {
		t.Error(got)
	}
}

func TestPlainHTTPIsRefusedBeforeAPasswordIsChecked(t *testing.T) {
	files := write(t, map[string]string{"users": "alice:" + bcryptOf(t, "one") + "\n"})
	for insecure, want := range map[bool]string{false: "403", true: "alice"} {
		a, err := Open(Options{Users: files["users"], InsecureBasic: insecure})
		if err != nil {
			t.Fatal(err)
		}
		v := &Visit{Peer: netip.MustParseAddr("192.168.1.9"),
			Header: http.Header{"Authorization": {basicOf("alice:one")}}}
		who, _, err := a.Now().Identify(t.Context(), v)
		got := who.String()
		if refused := new(RequestError); errors.As(err, &refused) {
			got = fmt.Sprint(refused.Status)
		}
		if canAsk := a.Now().CanAsk(v); got != want || (canAsk == nil) != insecure {
			t.Errorf("%t: %s, %v, %v", insecure, got, err, canAsk)
		}
	}
}

// TestTokenIsOfOneAccount: a user of the same name who is added later cannot be by the tokens of the earlier one, and a new
// password that is told to the tokens ends none.
func TestTokenIsOfOneAccount(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	lineOf := func(password string) string { return "ann:" + bcryptOf(t, password) }
	first, second := lineOf("one"), lineOf("one")
	users := func(line string) *Users {
		if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		u, err := ParseUsers(line, false)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	now := time.Now()
	secret, token, err := NewToken("ann", "phone", now, now.Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(fn func(*Tokens) error) {
		if err := EditTokens(file, fn); err != nil {
			t.Fatal(err)
		}
	}
	token.Account = users(first).Account("ann")
	edit(func(ts *Tokens) error { return ts.Add(token) })
	a, err := Open(Options{Users: file})
	if err != nil {
		t.Fatal(err)
	}
	check := func(about string, want bool) {
		t.Helper()
		if err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		s := a.Now()
		_, err := s.logins.check(t.Context(), netip.MustParseAddr("192.0.2.1"), "ann", secret)
		if left := s.Access(Principal{Name: "ann", Token: "phone"}).who.Name != ""; (err == nil) != want || left != want {
			t.Errorf("%s: %v, and a request that runs is of ann: %t", about, err, left)
		}
		if told := strings.Join(s.Doubts(), ""); strings.Contains(told, "1 app tokens in "+TokensFile(file)) == want {
			t.Errorf("%s: the log says %q", about, told)
		}
	}
	check("the user who has made it", true)
	users(second)
	check("another user of that name", false)
	before := users(first)
	_, hash, _ := strings.Cut(second, ":")
	edit(func(ts *Tokens) error { ts.Carry(before, "ann", hash); return nil })
	check("before the new password", true)
	before = users(second)
	check("after it", true)
	users(lineOf("three"))
	check("a third user", false)
	_, hash, _ = strings.Cut(first, ":")
	edit(func(ts *Tokens) error { ts.Carry(before, "ann", hash); return nil })
	users(first)
	check("after a password that was set twice", true)
}
