package handler

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// toldRules hide /h from all but ann, and of /h/way/z and /seen tell bob something.
var toldRules = servertest.Rules(
	"/ anonymous -", "/h ann all", "/h/way/z cy list,read,create", "/open anonymous all", "/seen ann all",
	"/seen bob list,replace,remove,props,lock", "/seen cy list",
)

var accessAll = flag.Bool("access-all", false, "have the tests of what is told ask all, for anonymous too")

// The content of the hidden file, and its tag.
const hiddenContent = "hidden"

const hiddenTag = `"5WS0CB16nqSwDa2lO9rnDJm4e2_Ohp8MPdTSv6HlPhw"`

// toldWorld returns a handler of a tree with this layout, in which dates are the same for all.
func toldWorld(t *testing.T, authority *auth.Authority, layout ...string) http.Handler {
	store := dirInMemory(t, fs.Options{}, layout...)
	return newTestHandler(t, Config{Store: store, Auth: authority})
}

var (
	dateText  = regexp.MustCompile(`\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	tokenText = regexp.MustCompile(`urn:uuid:[0-9a-f-]+`)

	// timeoutText is what is left of the ten minutes of a lock, which is less on a slow machine.
	timeoutText = regexp.MustCompile(`Second-(600|5\d\d)\b`)
)

// wholeAnswer returns all of an answer but the parts that differ between any two.
func wholeAnswer(t *testing.T, h http.Handler, user, method, target, body string, header []string) string {
	w := askAs(t, h, user, method, target, body, header...)
	var b strings.Builder
	fmt.Fprintln(&b, w.Code)
	w.Header().Del("Date")
	if w.Code/100 == 2 && method != "GET" && method != "HEAD" {
		// A write gets a date that no earlier version had. While that date lies ahead, the answer leaves it out.
		w.Header().Del("Last-Modified")
	}
	w.Header().Write(&b)
	b.WriteString(w.Body.String())
	told := idText.ReplaceAllString(dateText.ReplaceAllString(b.String(), "(date)"), "$1(id)")
	return tokenText.ReplaceAllString(timeoutText.ReplaceAllString(told, "(timeout)"), "(token)")
}

// idText matches the id of a request, which is another one each time.
var idText = regexp.MustCompile(`(X-Request-Id: |requestId":"|requestId>)[0-9a-f]{16}`)

// toldHeaders are the headers of requests, each a way to ask about another resource than the target.
func toldHeaders(token string) [][]string {
	headers := [][]string{
		nil, {"If-Match:*"}, {"If-None-Match:*"}, {"If-Match:" + hiddenTag}, {"If-None-Match:" + hiddenTag},
		{`If-Match:"other"`}, {"If-Match:malformed"}, {"If-Unmodified-Since:Mon, 01 Jan 2001 00:00:00 GMT"},
		{"If-Modified-Since:Mon, 01 Jan 2001 00:00:00 GMT"}, {"Prefer:return=representation", `If-None-Match:*`},
		{"If:([" + hiddenTag + "])"}, {"If:(Not [" + hiddenTag + "])"}, {"If:(<" + token + ">)"}, {"If:(Not <" + token + ">)"},
		{"Lock-Token:<" + token + ">"}, {"Depth:0"}, {"Depth:infinity"}, {"Depth:bad"}, {"Overwrite:F"}, {"X-OC-Mtime:1000000000"},
		{"Range:bytes=0-0"}, {"If-Range:" + hiddenTag, "Range:bytes=0-0"}, {"Accept:application/xml"}, {"Want-Repr-Digest:sha-256=1"},
	}
	for _, ref := range []string{"/h/x", "/h", "/h/x/y"} {
		headers = append(headers,
			[]string{"If:<" + ref + "> ([" + hiddenTag + "])"}, []string{"If:<" + ref + "> (Not [" + hiddenTag + "])"},
			[]string{"If:<" + ref + "> (<" + token + ">)"}, []string{"If:<" + ref + "> (Not <" + token + ">)"},
			[]string{"Destination:" + ref}, []string{"Destination:" + ref, "Overwrite:F"}, []string{"Destination:" + ref, "If-None-Match:*"})
	}
	return append(headers, []string{"Destination:/open/new"}, []string{"Destination:/open/o"})
}

var toldMethods = []string{"OPTIONS", "GET", "HEAD", "PROPFIND", "PUT", "MKCOL", "DELETE", "COPY", "MOVE", "PROPPATCH", "LOCK", "UNLOCK", "PATCH"}

func bodyOf(method string) string {
	switch method {
	case "PUT":
		return hiddenContent
	case "LOCK":
		return `<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>`
	case "PROPPATCH":
		return `<propertyupdate xmlns="DAV:"><set><prop><checksums xmlns="http://owncloud.org/ns">SHA1:00</checksums></prop></set></propertyupdate>`
	case "PROPFIND":
		return `<propfind xmlns="DAV:"><allprop/><include><quota-used-bytes/><checksums xmlns="http://owncloud.org/ns"/>` +
			`<supported-method-set/><current-user-privilege-set/></include></propfind>`
	}
	return ""
}

// hiddenLayouts are those of a tree with something hidden, by what there is.
func hiddenLayouts() map[string][]string {
	base := []string{"open/", "open/o=o", "seen/", "seen/s=s"}
	return map[string][]string{
		"nothing":      base,
		"a collection": append(slices.Clip(base), "h/"),
		"a file":       append(slices.Clip(base), "h/", "h/x="+hiddenContent),
		"a file above": append(slices.Clip(base), "h=file"),
		"members":      append(slices.Clip(base), "h/", "h/x/", "h/x/y="+hiddenContent),
		"a lock":       append(slices.Clip(base), "h/", "h/x="+hiddenContent),
	}
}

var hiddenPaths = []string{"/h", "/h/", "/h/x", "/h/x/", "/h/%78", "/open/../h/x", "/h/./x", "//h//x", "/h/x/y", "/h/.ifmatch", "/%68/x", "/h/X",
	"/h/x%CC%88", "/h/%C3%A4", "/open/o", "/open/new", "/"}

// TestNothingIsToldOfHidden: a principal that may not list a name gets the same answer whether the name is taken or
// not, by a file or by a collection: to every method, every kind of path, and every field that asks about another
// resource.
func TestNothingIsToldOfHidden(t *testing.T) {
	authority, _ := openAuthority(t, toldRules)
	for _, user := range []string{"bob", ""} {
		compareWorlds(t, authority, user, hiddenLayouts(), hiddenPaths)
	}
}

// TestNothingIsToldBesideTheWay: of a collection that is seen on the way to something, a principal learns that it is
// there, and nothing of its other members, nor of a file in its place.
func TestNothingIsToldBesideTheWay(t *testing.T) {
	authority, _ := openAuthority(t, toldRules)
	way := []string{"open/", "open/o=o", "seen/", "seen/s=s", "h/", "h/way/"}
	compareWorlds(t, authority, "cy", map[string][]string{
		"nothing": way,
		"a file":  append(slices.Clip(way), "h/x="+hiddenContent, "h/way/y="+hiddenContent),
		"members": append(slices.Clip(way), "h/x/", "h/x/y="+hiddenContent, "h/way/y/", "h/way/y/z=z"),
		"a lock":  append(slices.Clip(way), "h/x="+hiddenContent),
	}, []string{"/", "/h", "/h/", "/h/x", "/h/x/y", "/h/way", "/h/way/y", "/h/way/z", "/h/way/y/z", "/open/o", "/open/new"})
	compareWorlds(t, authority, "cy", map[string][]string{
		"nothing": way[:5], "a file": append(slices.Clip(way[:5]), "h/way="+hiddenContent),
	}, []string{"/h", "/h/way", "/h/way/", "/h/way/z", "/open/o"})
}

// compareWorlds sends the same requests to servers with different layouts, and fails where two answers differ: a user who
// may not know of the difference would learn of it.
func compareWorlds(t *testing.T, authority *auth.Authority, user string, layouts map[string][]string, paths []string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(layouts))
	n := 0
	for _, method := range toldMethods {
		t.Run(method, func(t *testing.T) { n += compareWorldsBy(t, authority, user, method, names, layouts, paths) })
	}
	t.Logf("%d answers", n)
}

// compareWorldsBy is compareWorlds of one method. Its stores are closed at its end. It returns how many answers it compared.
func compareWorldsBy(
	t *testing.T, authority *auth.Authority, user, method string, names []string, layouts map[string][]string, paths []string,
) (n int) {
	worlds := map[string]lockedWorld{}
	for i := range toldHeaders("") {
		for j, path := range paths {
			if !*accessAll && user == "" && (i+j)%4 != 0 || underRace && (i+j)%8 != 0 {
				continue
			}
			want, of := "", ""
			for _, what := range names {
				open := !strings.Contains(path, "h") && path != "/" // these may be changed, and have no hidden lock
				if open && (what == "a lock" || method == "UNLOCK") {
					continue
				}
				n++
				w, ok := worlds[what]
				if !ok || strings.HasPrefix(path, "/open/") || strings.HasPrefix(path, "/h/way/z") {
					w = newWorld(t, authority, what, layouts[what])
					worlds[what] = w
				}
				header := toldHeaders(w.token)[i]
				got := strings.ReplaceAll(wholeAnswer(t, w.Handler, user, method, path, bodyOf(method), header), w.token, "(token)")
				if want == "" {
					want, of = got, what
				}
				if got != want {
					t.Fatalf("%s %s by %q with %q: with %s there:\n%s\nwith %s there:\n%s", method, path, user, header, what, got, of, want)
				}
			}
		}
	}
	return n
}

type lockedWorld struct {
	http.Handler
	token string
}

func newWorld(t *testing.T, authority *auth.Authority, what string, layout []string) lockedWorld {
	return lockWorld(t, toldWorld(t, authority, layout...), what)
}

// lockWorld locks the hidden file where it is to be locked.
func lockWorld(t *testing.T, h http.Handler, what string) lockedWorld {
	t.Helper()
	w := lockedWorld{h, "urn:uuid:00000000-0000-4000-8000-000000000000"}
	if what == "a lock" {
		got := askAs(t, w.Handler, "ann", "LOCK", "/h/x", bodyOf("LOCK"))
		w.token = strings.Trim(got.Header().Get("Lock-Token"), "<>")
		if got.Code != http.StatusOK || w.token == "" {
			t.Fatalf("LOCK: %d %s", got.Code, got.Body)
		}
	}
	return w
}

// TestNoContentIsToldUnread: a principal that may list a file and not read it gets the same answer for each content.
func TestNoContentIsToldUnread(t *testing.T) {
	authority, _ := openAuthority(t, toldRules)
	other := strings.ToUpper(hiddenContent)
	for _, user := range []string{"bob", "cy"} {
		for _, method := range toldMethods {
			for _, header := range toldHeaders("urn:uuid:0") {
				for _, path := range []string{"/seen/s", "/seen/", "/open/o"} {
					for i, line := range header {
						header[i] = strings.ReplaceAll(line, "/h/x", "/seen/s")
					}
					var answers []string
					for _, content := range []string{hiddenContent, other} {
						h := toldWorld(t, authority, "open/", "open/o=o", "seen/", "seen/s="+content)
						answers = append(answers, wholeAnswer(t, h, user, method, path, bodyOf(method), header))
					}
					if answers[0] != answers[1] {
						t.Fatalf("%s %s by %q with %q:\n%s\nor:\n%s", method, path, user, header, answers[0], answers[1])
					}
					if strings.Contains(answers[0], strings.Trim(hiddenTag, `"`)) && !strings.Contains(strings.Join(header, ""), hiddenTag) && method != "PUT" {
						t.Fatalf("%s %s by %q with %q tells the tag:\n%s", method, path, user, header, answers[0])
					}
				}
			}
		}
	}
}

// TestHiddenTag: the tests above ask with the tag that the content has.
func TestHiddenTag(t *testing.T) {
	authority, _ := openAuthority(t, toldRules)
	h := toldWorld(t, authority, "h/", "h/x="+hiddenContent)
	if got := askAs(t, h, "ann", "GET", "/h/x", "").Header().Get("ETag"); got != hiddenTag {
		t.Errorf("it is %s", got)
	}
	var _ tree.ETag = hiddenTag
}
