package auth

import (
	"strings"
	"testing"
)

const goodConfig = `users = "users"
ask-login = ["davfs2/*"]

[groups]
staff = ["alice", "bob"]

[[rule]]
path = "/"
who = ["authenticated"]
effects = ["all"]

[[rule]]
path = "/home/{user}"
who = ["@staff", "carol", "anonymous"]
effects = [
  "list",
  "read",
]
require = "conditions"
`

func TestConfigIsRead(t *testing.T) {
	c, err := ParseConfig(goodConfig)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rules) != 2 || c.Users != "users" || len(c.Groups["staff"]) != 2 || len(c.AskLogin) != 1 {
		t.Fatalf("%+v", c)
	}
	r := c.Rules[1]
	if r.Path.String() != "/home/{user}" || r.Who.String() != "carol, @staff, anonymous" ||
		r.Effects != List|Read || r.Require != Conditions {
		t.Errorf("%+v", r)
	}
	if r.Line != 12 || c.Rules[0].Line != 7 {
		t.Errorf("lines %d and %d", c.Rules[0].Line, r.Line)
	}
}

func TestConfigErrorsHaveTheirLine(t *testing.T) {
	edit := func(old, new string) string {
		if !strings.Contains(goodConfig, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(goodConfig, old, new, 1)
	}
	tests := []struct{ text, want string }{
		{edit("users =", "user ="), `line 1: the key "user" is not known`},
		{edit("who = [\"auth", "whom = 1\nwho = [\"auth"), `line 9: the key "rule.whom" is not known`},
		{edit("[\n  \"list\"", "[\n  \"lst\""), `line 15: rule 2: there is no effect "lst"`},
		{edit(`require = "conditions"`, `require = "condition"`), `line 19: rule 2: require "condition" is not known`},
		{edit(`"/home/{user}"`, `"home"`), `line 13: rule 2: path "home": begin it with a slash`},
		{edit(`"@staff", `, `"@", `), `line 14: rule 2: group "@": a name is empty`},
		{edit("path = \"/\"\n", ""), `line 7: rule 1: it needs path, who and effects`},
		{edit(`"bob"]`, `"b:b"]`), `line 5: group "staff": member "b:b": a name cannot have a colon`},
		{edit("staff =", "\"@x\" ="), `line 5: group "@x": a name cannot begin with @`},
		{edit("staff = ", "staff "), `line 5: `},
		{edit(`who = ["@staff", "carol", "anonymous"]`, `who = []`), `line 14: rule 2: who is empty`},
		{goodConfig + "[[rules]]\npath = '/'\n", `line 20: the key "rules" is not known`},
		{goodConfig + "[[rule]]\npath = '/'\n", `line 20: rule 3: it needs path, who and effects`},
	}
	for _, tt := range tests {
		_, err := ParseConfig(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v\nwant %s", err, tt.want)
		}
	}
}

func TestSeveralErrorsAreToldAtOnce(t *testing.T) {
	_, err := ParseConfig("a = 1\nb = 2\n")
	if got := err.Error(); got != "line 1: the key \"a\" is not known\nline 2: the key \"b\" is not known" {
		t.Error(got)
	}
	_, err = ParseConfig(strings.Repeat("[[rule]]\n", 30))
	if got := err.Error(); !strings.HasSuffix(got, "and 20 more") {
		t.Error(got)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(goodConfig)
	f.Add("[[rule]]\npath = '''\n/x\n'''\nwho=['a']\neffects=[]\n")
	f.Add("rule = [{path='/', who=['a'], effects=['x']}, {}]")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig(text)
		if err != nil {
			if c != nil || err.Error() == "" {
				t.Errorf("%v with %v", c, err)
			}
			return
		}
		p := NewPolicies(NewRules(c.Rules), Population{Users: []string{"alice"}, Groups: c.Groups})
		a := p.Access(Principal{Name: "alice"})
		if e := a.Effects("a/b"); !e.Has(a.Subtree("a/b")) {
			t.Error("a subtree has more than its top")
		}
	})
}
