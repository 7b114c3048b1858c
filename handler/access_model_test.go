package handler

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

var accessOps = flag.Int("access-ops", 10_000, "operations of TestAccessModel")

// A world is a handler with users and rules, the tree that the model says there is, and the rules as the model has them.
type world struct {
	t       *testing.T
	rand    *rand.Rand
	handler http.Handler
	store   tree.Store
	auth    *auth.Authority
	config  string
	rules   []modelRule
	there   map[string]bool // by name in NFC: whether it is a collection
	links   linkModel       // on a disk with links
}

func (w *world) newRules() {
	w.rules = nil
	var b strings.Builder
	for range 1 + w.rand.IntN(6) {
		var r modelRule
		for range w.rand.IntN(3) {
			r.path = append(r.path, append(slices.Clone(modelSegments), "*", "{user}", "*", "{user}")[w.rand.IntN(len(modelSegments)+4)])
		}
		r.who = [][]string{{"ann"}, {"bob"}, {"ann", "cy"}, {"authenticated"}, {"anonymous"}}[w.rand.IntN(5)]
		for _, e := range modelEffects {
			if w.rand.IntN(3) > 0 {
				r.effects = append(r.effects, e)
			}
		}
		w.rules = append(w.rules, r)
		fmt.Fprintf(&b, "[[rule]]\npath = %q\nwho = [%s]\neffects = [%s]\n", "/"+strings.Join(r.path, "/"), quotedList(r.who), quotedList(r.effects))
	}
	if err := os.WriteFile(w.config, []byte(b.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := w.auth.Reload(); err != nil {
		w.t.Fatal(err)
	}
}

type modelOp struct {
	method, user, name, to string
	shallow                bool
}

// needs reports whether a user may do it as far as names tell.
func (w *world) may(user string, op modelOp) bool {
	g := w.granted(user, op.name)
	deep := !op.shallow
	switch op.method {
	case "GET", "HEAD":
		return g["read"]
	case "PROPFIND":
		return w.seen(user, op.name)
	case "PUT":
		return g["create"] || g["replace"]
	case "MKCOL":
		return g["create"]
	case "DELETE":
		return w.has(user, op.name, true, "remove")
	case "COPY":
		return w.has(user, op.name, deep, "list", "read") && w.has(user, op.to, deep, "create")
	case "MOVE":
		return w.has(user, op.name, true, "list", "read", "remove") && w.has(user, op.to, true, "create")
	case "PROPPATCH":
		return g["props"]
	case "LOCK":
		return w.has(user, op.name, deep, "lock")
	}
	return true
}

// refusedAs is the status of an operation that names alone refuse, or 0 of others.
func (w *world) refusedAs(op modelOp) int {
	if w.may(op.user, op) {
		return 0
	}
	if op.user == "" && slices.ContainsFunc(modelUsers[:3], func(u string) bool {
		if op.method == "PROPFIND" {
			return w.granted(u, op.name)["list"]
		}
		return w.may(u, op)
	}) {
		return http.StatusUnauthorized
	}
	if reads := op.method == "GET" || op.method == "HEAD" || op.method == "PROPFIND"; reads && !w.seen(op.user, op.name) {
		return http.StatusNotFound
	}
	return http.StatusForbidden
}

// succeeds reports whether the operation succeeds, and does it to the model.
func (w *world) succeeds(op modelOp) bool {
	if known, succeeds := w.links.succeeds(w, op); known {
		return succeeds
	}
	collection, exists := w.there[op.name]
	parent, _ := tree.Split(op.name)
	g := w.granted(op.user, op.name)
	switch op.method {
	case "GET", "HEAD":
		return exists
	case "PROPFIND":
		return exists && (collection || g["list"])
	case "PUT":
		if exists && (collection || !g["replace"]) || !exists && (!g["create"] || !w.there[parent]) {
			return false
		}
		w.there[op.name] = false
	case "MKCOL":
		if exists || !w.there[parent] {
			return false
		}
		w.there[op.name] = true
	case "DELETE":
		if !exists || op.name == "" {
			return false
		}
		w.remove(op.name)
	case "COPY", "MOVE":
		return exists && w.transfers(op, collection)
	case "PROPPATCH":
		return exists
	case "LOCK":
		if !exists && (!g["create"] || !w.there[parent]) {
			return false
		}
		w.there[op.name] = collection
	}
	return true
}

// spellsUser reports whether a segment of a name is another spelling of the name of a user.
func spellsUser(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "/"), func(segment string) bool {
		return slices.ContainsFunc(modelUsers[:3], func(u string) bool { return u != segment && volumes.Alike(u, segment) })
	})
}

func (w *world) remove(name string) {
	maps.DeleteFunc(w.there, func(n string, _ bool) bool { return n == name || tree.Below(n, name) })
	maps.DeleteFunc(w.links.to, func(n, _ string) bool { return n == name || tree.Below(n, name) })
}

func (w *world) transfers(op modelOp, collection bool) bool {
	if op.name == op.to || tree.Below(op.name, op.to) || tree.Below(op.to, op.name) || op.name == "" || op.to == "" {
		return false
	}
	parent, _ := tree.Split(op.to)
	over, exists := w.there[op.to]
	switch {
	case !w.there[parent]:
		return false
	case exists && over && !w.has(op.user, op.to, true, "remove"):
		return false
	case exists && !over && !w.granted(op.user, op.to)["replace"]:
		return false
	case collection && !op.shallow && !w.has(op.user, op.to, true, "create"):
		return false
	}
	came, links := map[string]bool{op.to: collection}, map[string]string{}
	for name, is := range w.there {
		if tree.Below(name, op.name) && !(op.method == "COPY" && op.shallow) {
			came[op.to+name[len(op.name):]] = is
		}
	}
	for name, target := range w.links.to {
		if came := op.to + strings.TrimPrefix(name, op.name); name == op.name || tree.Below(name, op.name) && !(op.method == "COPY" && op.shallow) {
			links[came] = target
		}
	}
	w.remove(op.to)
	if op.method == "MOVE" {
		w.remove(op.name)
	}
	maps.Copy(w.there, came)
	maps.Copy(w.links.to, links)
	return true
}

// target writes a name in one of the ways in which a client may.
func (w *world) target(name string) string {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		if w.rand.IntN(4) == 0 {
			s = norm.NFD.String(s)
		}
		segments[i] = url.PathEscape(s)
		if w.rand.IntN(5) == 0 {
			segments[i] = ""
			for j := range len(s) {
				segments[i] += fmt.Sprintf("%%%02x", s[j])
			}
		}
	}
	path := "/" + strings.Join(segments, "/")
	return []string{"", "", "", "/.", "/a/..", "/b/%2e%2e", "/"}[w.rand.IntN(7)] + path
}

func (w *world) name() string {
	if there := slices.Sorted(maps.Keys(w.there)); w.rand.IntN(3) == 0 && len(there) > 1 { // the first is the root
		return there[1+w.rand.IntN(len(there)-1)]
	}
	var segments []string
	for range 1 + w.rand.IntN(3) {
		segments = append(segments, modelNames[w.rand.IntN(len(modelNames))])
	}
	return strings.Join(segments, "/")
}

// now returns the tree as the store has it.
func (w *world) now() map[string]bool {
	if w.links.disk != "" {
		return w.links.now(w.t)
	}
	now := map[string]bool{}
	for s, err := range w.store.List(w.t.Context(), "", tree.ListOptions{Depth: -1}, tree.Condition{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		now[norm.NFC.String(s.Name)] = s.Collection
	}
	return now
}

// TestAccessModel: operations at random, by three users and anonymous and under rules that change, succeed where a
// model says so, and change the tree as the model does.
func TestAccessModel(t *testing.T) {
	seed := uint64(14)
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, seed))}
	w.auth, w.config = openAuthority(t, "")
	w.store = dirInMemory(t, fs.Options{}, modelLayout...)
	w.handler = newTestHandler(t, Config{Store: w.store, Auth: w.auth})
	w.run(*accessOps)
}

var modelLayout = []string{"a/", "home/", "home/ann/", "home/bob/", "ä/", "a/x=1", "home/ann/x=2", "ä/x=3"}

// run does a number of random operations.
func (w *world) run(operations int) {
	t := w.t
	w.there = w.now()
	methods := []string{"GET", "HEAD", "PROPFIND", "PUT", "PUT", "PUT", "MKCOL", "MKCOL", "DELETE", "COPY", "COPY", "MOVE", "PROPPATCH", "LOCK"}
	counts := map[string]int{}
	if underRace {
		operations /= 5
	}
	for i := range operations {
		if i%50 == 0 {
			w.newRules()
			w.links.add(w)
		}
		op := modelOp{method: methods[w.rand.IntN(len(methods))], user: modelUsers[w.rand.IntN(4)], name: w.name(), to: w.name()}
		for op.to == op.name && !norm.NFD.IsNormalString(op.to) {
			op.to = w.name() // a MOVE to another normal form of the name spells it anew
		}
		header, body := []string{}, ""
		switch op.method {
		case "COPY", "MOVE":
			header = append(header, "Destination:"+w.target(op.to))
		case "PUT":
			body = fmt.Sprint(i)
		case "PROPPATCH":
			body = `<propertyupdate xmlns="DAV:"><set><prop><p xmlns="x">1</p></prop></set></propertyupdate>`
		case "PROPFIND":
			header = append(header, "Depth:1")
		}
		if (op.method == "COPY" || op.method == "LOCK") && w.rand.IntN(3) == 0 {
			op.shallow = true
			header = append(header, "Depth:0")
		}
		if op.method == "LOCK" {
			body = bodyOf("LOCK")
		}
		target := w.target(op.name)
		before, links := maps.Clone(w.there), maps.Clone(w.links.to)
		refused := w.refusedAs(op)
		want := refused == 0 && w.succeeds(op)
		got := askAs(t, w.handler, op.user, op.method, target, body, header...)
		said := fmt.Sprintf("operation %d: %+v as %s with %q under %v: %d %s", i, op, target, header, w.rules, got.Code, got.Body)
		switch success := got.Code < 300; {
		case refused != 0 && got.Code == http.StatusUnauthorized && op.user == "" && spellsUser(op.name+"/"+op.to):
			// It may be challenged where no user may: see auth.Policies.SomeUserMay.
		case refused != 0 && got.Code != refused:
			t.Fatalf("%s; want %d", said, refused)
		case success != want:
			t.Fatalf("%s; want success: %v; there was %v, and links %v", said, want, before, links)
		case success && op.method == "PROPFIND":
			w.checkMembers(op, got.Body.String(), said)
		case success && op.method == "LOCK":
			w.checkUnlock(op, target, got.Header().Get("Lock-Token"), said)
		}
		if now := w.now(); !maps.Equal(now, w.there) {
			t.Fatalf("%s; now there is %v, want %v", said, now, w.there)
		}
		counts[fmt.Sprintf("%s %v", op.method, want)]++
	}
	t.Logf("%v", counts)
	for _, method := range methods {
		if counts[method+" true"] == 0 || counts[method+" false"] == 0 {
			t.Errorf("%s was never tried with both ends: %v", method, counts)
		}
	}
}

// checkUnlock: a lock is ended by its taker alone, and an anonymous one by each principal. Anonymous is challenged where
// it could not have taken the lock.
func (w *world) checkUnlock(op modelOp, target, token, said string) {
	if op.user != "" {
		other := modelUsers[(slices.Index(modelUsers, op.user)+1)%len(modelUsers)]
		want := http.StatusConflict
		if asOther := (modelOp{method: "LOCK", user: other, name: op.name, shallow: true}); w.refusedAs(asOther) == http.StatusUnauthorized {
			want = http.StatusUnauthorized
		}
		if got := askAs(w.t, w.handler, other, "UNLOCK", target, "", "Lock-Token:"+token).Code; got != want {
			w.t.Fatalf("%s; UNLOCK by %q: %d, want %d", said, other, got, want)
		}
	}
	if got := askAs(w.t, w.handler, op.user, "UNLOCK", target, "", "Lock-Token:"+token).Code; got != http.StatusNoContent {
		w.t.Fatalf("%s; UNLOCK: %d", said, got)
	}
}

// checkMembers: a listing tells of the members that are seen, and of no other.
func (w *world) checkMembers(op modelOp, body, said string) {
	for name, collection := range w.there {
		parent, _ := tree.Split(name)
		if parent != w.links.at(w, op.name) || name == "" {
			continue
		}
		want := w.granted(op.user, name)["list"] || collection && w.seen(op.user, name)
		name, want = w.links.member(w, op, name, want)
		_, base := tree.Split(name)
		got := strings.Contains(body, "/"+url.PathEscape(base)+"</D:href>") || strings.Contains(body, "/"+url.PathEscape(base)+"/</D:href>") ||
			strings.Contains(body, "/"+url.PathEscape(norm.NFD.String(base))+"</D:href>") ||
			strings.Contains(body, "/"+url.PathEscape(norm.NFD.String(base))+"/</D:href>")
		if _, self := tree.Split(op.name); self == base {
			continue // it looks like the collection itself
		}
		if got != want {
			w.t.Fatalf("%s; tells of %s: %v, want %v", said, name, got, want)
		}
		if !w.granted(op.user, name)["read"] && !collection && got && strings.Count(body, "getetag") > strings.Count(body, "getcontentlength") {
			w.t.Fatalf("%s; tells a tag of %s", said, name)
		}
	}
}
