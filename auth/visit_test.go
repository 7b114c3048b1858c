package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func basicOf(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

func TestCredentials(t *testing.T) {
	for _, tt := range []struct {
		lines          []string
		name, password string
		given, fails   bool
	}{
		{nil, "", "", false, false},
		{[]string{basicOf("alice:a:b")}, "alice", "a:b", true, false},
		{[]string{"bAsIc " + strings.TrimPrefix(basicOf("a:"), "Basic ")}, "a", "", true, false},
		{[]string{basicOf("Cafe\u0301:Cafe\u0301")}, "Café", "Café", true, false},
		{[]string{"Bearer abc"}, "", "", false, false},
		{[]string{"Basic !"}, "", "", false, true},
		{[]string{basicOf("nocolon")}, "", "", false, true},
		{[]string{"Basic"}, "", "", false, true},
		{[]string{basicOf("a:b"), basicOf("a:b")}, "", "", false, true},
	} {
		b, given, err := credentials(http.Header{"Authorization": tt.lines})
		if b.name != tt.name || b.password != tt.password || given != tt.given || (err != nil) != tt.fails {
			t.Errorf("%q: %+v, %t, %v", tt.lines, b, given, err)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add(basicOf("alice:secret"))
	f.Add("Basic \xff")
	f.Fuzz(func(t *testing.T, line string) {
		b, given, err := credentials(http.Header{"Authorization": {line}})
		if err != nil && given || !given && b != (basic{}) {
			t.Errorf("%+v, %t, %v", b, given, err)
		}
		if strings.Contains(b.name, ":") || NormalName(b.name) != b.name {
			t.Errorf("the name is %q", b.name)
		}
	})
}

func TestWhereAPasswordCanBeSent(t *testing.T) {
	local, lan, far := netip.MustParseAddr("::1"), netip.MustParseAddr("192.168.1.9"),
		netip.MustParseAddr("203.0.113.9")
	forwarded := http.Header{"X-Forwarded-For": {"203.0.113.9"}}
	for _, tt := range []struct {
		about string
		v     Visit
		want  bool
	}{
		{"TLS", Visit{Peer: far, Client: far, Secure: true}, true},
		{"another machine", Visit{Peer: lan, Client: lan}, false},
		{"this machine", Visit{Peer: local, Client: local}, true},
		{"IPv4 in IPv6", Visit{Peer: netip.MustParseAddr("::ffff:127.0.0.1")}, true},
		{"a Unix socket", Visit{Unix: true}, true},
		{"a proxy that says https", Visit{Peer: lan, Client: far, Trusted: true, Secure: true}, true},
		{"a proxy that does not", Visit{Peer: lan, Client: far, Trusted: true}, false},
		{"a proxy here that does not", Visit{Peer: local, Client: far, Trusted: true}, false},
		{"a proxy here, asked from here", Visit{Peer: local, Client: local, Trusted: true, Header: forwarded}, true},
		{"a proxy here, of an unknown client", Visit{Peer: local, Trusted: true}, false},
		{"a proxy here that is not known as one", Visit{Peer: local, Client: local, Header: forwarded}, false},
		{"a proxy at a Unix socket that is not known as one",
			Visit{Unix: true, Header: http.Header{"Forwarded": {"for=x"}}}, false},
	} {
		if got := tt.v.private(); got != tt.want {
			t.Errorf("%s: %t", tt.about, got)
		}
	}
}

func TestOptionsOfProxyNames(t *testing.T) {
	for _, tt := range []struct {
		header, groups, fresh string
		from                  []string
		want                  string // of From, or of the error
	}{
		{"", "", "", nil, "[]"},
		{"X-Remote-User", "", "", []string{"10.0.0.2"}, "[10.0.0.2/32]"},
		{"x-remote-user", "X-Groups", "guests", []string{"::1", "unix"}, "[::1/128]"},
		{"X-Remote-User", "", "", []string{"10.0.0.0/8", "10.0.0.0/8"}, "[10.0.0.0/8]"},
		{"X-Remote-User", "", "", []string{"10.0.0.2/32"}, "[10.0.0.2/32]"},
		{"X-Remote-User", "", "", []string{"10.0.0.0/8"}, "every machine in it"},
		{"X-Remote-User", "", "", []string{"10.0.0.0/8", "10.0.0.0/9"}, "every machine in it"},
		{"X-Remote-User", "", "", nil, "needs --user-header-from"},
		{"X-Remote-User", "", "", []string{"proxy"}, "write an IP address"},
		{"X User", "", "", []string{"10.0.0.2"}, "two names of headers"},
		{"X_User", "", "", []string{"10.0.0.2"}, "two names of headers"},
		{"X-User", "x-user", "", []string{"10.0.0.2"}, "two names of headers"},
		{"authorization", "", "", []string{"10.0.0.2"}, "no other meaning"},
		{"X-User", "Via", "", []string{"10.0.0.2"}, "no other meaning"},
		{"X-User", "", "@x", []string{"10.0.0.2"}, "cannot begin with @"},
	} {
		p, err := ParseProxyNames(tt.header, tt.from, tt.groups, tt.fresh)
		if err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && fmt.Sprint(p.From) != tt.want {
			t.Errorf("%+v: %v, %v", tt, p.From, err)
		}
	}
}

func FuzzProxyNames(f *testing.F) {
	f.Add("X-Remote-User", "10.0.0.2", "alice", "staff,all", "alice:x")
	f.Add("x-user", "::1", "Cafe\u0301", "", "")
	f.Add("x-user", "0.0.0.0/0", "a,b", ",,", ":")
	f.Fuzz(func(t *testing.T, header, from, user, groups, sent string) {
		p, err := ParseProxyNames(header, []string{from, from}, "X-Groups", "")
		if err != nil {
			return
		}
		if !slices.ContainsFunc(p.From, netip.Prefix.IsValid) && !p.FromUnix && header != "" {
			t.Error("nobody may name users, and that is no error")
		}
		v := &Visit{Unix: true, Header: http.Header{p.UserHeader: {user}, "X-Groups": {groups},
			"Authorization": {basicOf(sent)}}}
		name, all, dropped, err := p.named(v)
		if name != "" && (CheckName(name) != nil || err != nil || !p.FromUnix || dropped != nil) {
			t.Errorf("%q, %v, %v", name, dropped, err)
		}
		for _, group := range all {
			if CheckGroup(group) != nil {
				t.Errorf("group %q", group)
			}
		}
	})
}

// TestWhoAProxyNames asks a whole Authority: the proxy at 10.0.0.2 names users in X-Remote-User, and groups in
// X-Groups.
func TestWhoAProxyNames(t *testing.T) {
	proxy, err := ParseProxyNames("X-Remote-User", []string{"10.0.0.2"}, "X-Groups", "")
	if err != nil {
		t.Fatal(err)
	}
	fresh := proxy
	fresh.NewGroup = "guests"
	files := write(t, map[string]string{"users": "alice:" + bcryptOf(t, "secret") + "\n"})
	right, other := basicOf("alice:secret"), basicOf("bob:secret")
	for _, tt := range []struct {
		about   string
		fresh   bool
		from    string
		header  http.Header
		want    string // the user, or the status
		groups  string
		dropped bool
	}{
		{"a user", false, "10.0.0.2", http.Header{"X-Remote-User": {"alice"}}, "alice", "[]", false},
		{"groups", false, "10.0.0.2", http.Header{"X-Remote-User": {"alice"}, "X-Groups": {"a, b", "c"}}, "alice",
			"[a b c]", false},
		{"another normal form", false, "10.0.0.2", http.Header{"X-Remote-User": {"alice "}}, "alice", "[]", false},
		{"nobody", false, "10.0.0.2", http.Header{}, "anonymous", "[]", false},
		{"groups of nobody", false, "10.0.0.2", http.Header{"X-Groups": {"a"}}, "anonymous", "[]", false},
		{"two values", false, "10.0.0.2", http.Header{"X-Remote-User": {"alice", "alice"}}, "400", "[]", false},
		{"two values in one", false, "10.0.0.2", http.Header{"X-Remote-User": {"alice,bob"}}, "400", "[]", false},
		{"an empty one", false, "10.0.0.2", http.Header{"X-Remote-User": {""}}, "400", "[]", false},
		{"no name", false, "10.0.0.2", http.Header{"X-Remote-User": {"anonymous"}}, "400", "[]", false},
		{"no group", false, "10.0.0.2", http.Header{"X-Remote-User": {"alice"}, "X-Groups": {"@a"}}, "400", "[]",
			false},
		{"the same password", false, "10.0.0.2", http.Header{"X-Remote-User": {"alice"}, "Authorization": {right}},
			"alice", "[]", false},
		{"of another user", false, "10.0.0.2", http.Header{"X-Remote-User": {"alice"}, "Authorization": {other}},
			"400", "[]", false},
		{"unknown", false, "10.0.0.2", http.Header{"X-Remote-User": {"zoe"}}, "403", "[]", false},
		{"unknown, and taken", true, "10.0.0.2", http.Header{"X-Remote-User": {"zoe"}}, "zoe", "[guests]", false},
		{"from anybody", false, "10.0.0.3", http.Header{"X-Remote-User": {"alice"}}, "anonymous", "[]", true},
		{"groups from anybody", false, "10.0.0.3", http.Header{"X-Groups": {"a"}}, "anonymous", "[]", true},
		{"from anybody with a password", false, "10.0.0.3",
			http.Header{"X-Remote-User": {"bob"}, "X-Groups": {"a"}, "Authorization": {right}}, "alice", "[]", true},
		{"a wrong password", false, "10.0.0.3", http.Header{"Authorization": {other}}, "401", "[]", false},
	} {
		opts := Options{Users: files["users"], Proxy: proxy}
		if tt.fresh {
			opts.Proxy = fresh
		}
		a, err := Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		v := &Visit{Peer: netip.MustParseAddr(tt.from), Client: netip.MustParseAddr(tt.from), Secure: true,
			Header: tt.header}
		who, dropped, err := a.Now().Identify(t.Context(), v)
		got := who.String()
		refused, login := new(RequestError), new(LoginError)
		switch {
		case errors.As(err, &refused):
			got = fmt.Sprint(refused.Status)
		case errors.As(err, &login):
			got = "401"
		}
		groups := "[]"
		if err == nil {
			access := a.Now().Access(who)
			groups = fmt.Sprint(access.groups)
		}
		if got != tt.want || groups != tt.groups || (dropped != nil) != tt.dropped {
			t.Errorf("%s: %s %s, dropped %v, %v", tt.about, got, groups, dropped, err)
		}
	}
}
