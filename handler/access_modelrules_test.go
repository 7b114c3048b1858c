package handler

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

type modelRule struct {
	path    []string
	who     []string
	effects []string
}

var (
	modelUsers    = []string{"ann", "bob", "cy", ""}
	modelSegments = []string{"a", "ä", "home", "ann", "bob", "x"}
	// modelNames are also spelled as some disks take for the same.
	modelNames   = append(slices.Clip(modelSegments), "X", "Ä", "HOME", "Ann", "x.")
	modelEffects = []string{"list", "read", "create", "replace", "remove", "props", "lock"}
)

// openAuthority returns an authority that believes X-Remote-User from the address of httptest.
func openAuthority(t testing.TB, config string) (*auth.Authority, string) {
	t.Helper()
	dir := t.TempDir()
	users, file := filepath.Join(dir, "users"), filepath.Join(dir, "config.toml")
	if err := os.WriteFile(users, []byte("ann:*\nbob:*\ncy:*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy, err := auth.ParseProxyNames("X-Remote-User", []string{"192.0.2.1"}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := auth.Open(auth.Options{
		Users: users, Config: file, Proxy: proxy, InsecureBasic: true, Alike: volumes.Alike,
	})
	if err != nil {
		t.Fatal(err)
	}
	return authority, file
}

// askAs is [ask] as a user.
func askAs(t *testing.T, h http.Handler, user, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	if user != "" {
		header = append(header, "X-Remote-User:"+user)
	}
	return ask(t, h, method, target, body, header...)
}

func quotedList(words []string) string {
	var quoted []string
	for _, word := range words {
		quoted = append(quoted, fmt.Sprintf("%q", word))
	}
	return strings.Join(quoted, ", ")
}

// spellings returns a name, and the names that a disk may take for it and that the rules have: with segments of their
// paths and, where a path has {user}, with the name of the user.
func (w *world) spellings(user, name string) []string {
	known := map[string]bool{}
	for _, r := range w.rules {
		for _, segment := range r.path {
			switch {
			case segment == "{user}" && user != "":
				known[user] = true
			case segment != "{user}" && segment != "*":
				known[segment] = true
			}
		}
	}
	all := []string{""}
	if name == "" {
		return all
	}
	for i, segment := range strings.Split(name, "/") {
		var longer []string
		for _, front := range all {
			longer = append(longer, tree.Join(front, segment))
			for other := range known {
				if other != segment && volumes.Alike(other, segment) && i < w.deepest() {
					longer = append(longer, tree.Join(front, other))
				}
			}
		}
		all = longer
	}
	return all
}

// deepest returns how many segments the longest path has: no rule is about the others of a name.
func (w *world) deepest() (n int) {
	for _, r := range w.rules {
		n = max(n, len(r.path))
	}
	return n
}

// granted are the effects that the rules grant on each spelling of a name.
func (w *world) granted(user, name string) map[string]bool {
	granted := w.grantedExactly(user, name)
	for _, spelling := range w.spellings(user, name) {
		other := w.grantedExactly(user, spelling)
		maps.DeleteFunc(granted, func(effect string, _ bool) bool { return !other[effect] })
	}
	return granted
}

// grantedExactly are the effects that the rules grant, found out in the plainest way.
func (w *world) grantedExactly(user, name string) map[string]bool {
	var segments []string
	if name != "" {
		segments = strings.Split(name, "/")
	}
	rank := func(r modelRule) string { // the later in the order of strings, the more it decides. "" does not match
		if len(r.path) > len(segments) {
			return ""
		}
		key := fmt.Sprint(len(r.path)) + ":"
		for i, p := range r.path {
			switch {
			case p == "*":
				key += "1"
			case p == "{user}":
				if user == "" || segments[i] != user {
					return ""
				}
				key += "2"
			case p == segments[i]:
				key += "3"
			default:
				return ""
			}
		}
		return key
	}
	best := ""
	for _, r := range w.rules {
		best = max(best, rank(r))
	}
	granted := map[string]bool{}
	for _, r := range w.rules {
		if best == "" || rank(r) != best || !r.names(user) {
			continue
		}
		for _, e := range r.effects {
			granted[e] = true
		}
	}
	return granted
}

// namesBelow returns names below one, with all that a rule can be about.
func namesBelow(name string) []string {
	var names []string
	for _, a := range append(slices.Clone(modelSegments), "cy", "new") {
		first := tree.Join(name, a)
		names = append(names, first)
		for _, b := range append(slices.Clone(modelSegments), "cy", "new") {
			names = append(names, tree.Join(first, b))
		}
	}
	return names
}

// has reports whether effects are granted on a name and, if deep, by the rules of every path that can match below.
func (w *world) has(user, name string, deep bool, effects ...string) bool {
	all := []map[string]bool{w.granted(user, name)}
	if deep {
		all = append(all, w.grantedBelow(user, name)...)
	}
	for _, granted := range all {
		for _, e := range effects {
			if !granted[e] {
				return false
			}
		}
	}
	return true
}

// grantedBelow are the effects of each path that can match below a name, as it is spelled or otherwise.
func (w *world) grantedBelow(user, name string) (all []map[string]bool) {
	for _, spelling := range w.spellings(user, name) {
		all = append(all, w.grantedBelowExactly(user, spelling)...)
	}
	return all
}

func (w *world) grantedBelowExactly(user, name string) (all []map[string]bool) {
	for _, r := range w.rules {
		matches := func(n string) bool { return matchesModel(r.path, n, user) }
		if len(r.path) <= depthOfName(name) || !slices.ContainsFunc(namesBelow(name), matches) {
			continue
		}
		granted := map[string]bool{}
		for _, same := range w.rules {
			if slices.Equal(same.path, r.path) && same.names(user) {
				for _, e := range same.effects {
					granted[e] = true
				}
			}
		}
		all = append(all, granted)
	}
	return all
}

// seen: each spelling of a name may be listed, or is on the way to something.
func (w *world) seen(user, name string) bool {
	return !slices.ContainsFunc(w.spellings(user, name), func(spelling string) bool {
		below := w.grantedBelowExactly(user, spelling)
		return !w.grantedExactly(user, spelling)["list"] && !slices.ContainsFunc(below, func(g map[string]bool) bool { return len(g) > 0 })
	})
}

func (r modelRule) names(user string) bool {
	return slices.Contains(r.who, "anonymous") || user != "" && (slices.Contains(r.who, "authenticated") || slices.Contains(r.who, user))
}

func depthOfName(name string) int {
	if name == "" {
		return 0
	}
	return strings.Count(name, "/") + 1
}

func matchesModel(path []string, name, user string) bool {
	segments := strings.Split(name, "/")
	if len(path) > len(segments) {
		return false
	}
	for i, p := range path {
		if p != "*" && p != segments[i] && (p != "{user}" || user == "" || segments[i] != user) {
			return false
		}
	}
	return true
}
