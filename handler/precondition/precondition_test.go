package precondition

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A fakeView is a tree of fixed states and locks. It counts its calls, and has names that cannot be read.
type fakeView struct {
	states map[string]tree.State
	locks  []tree.Lock
	asked  int
}

var errDisk = errors.New("the disk is gone")

func (v *fakeView) State(name string) (tree.State, error) {
	v.asked++
	switch name {
	case "broken":
		return tree.State{}, errDisk
	case "reserved":
		return tree.State{}, fmt.Errorf("looking: %w", tree.ErrReserved)
	}
	s := v.states[name]
	s.Name = name
	return s, nil
}

func (v *fakeView) Locks(name string) ([]tree.Lock, error) {
	v.asked++
	if name == "broken" {
		return nil, errDisk
	}
	var locks []tree.Lock
	for _, l := range v.locks {
		if l.Covers(name) || tree.Below(l.Root, name) {
			locks = append(locks, l)
		}
	}
	return locks, nil
}

func (v *fakeView) Covering(name string) ([]tree.Lock, error) {
	locks, err := v.Locks(name)
	return slices.DeleteFunc(locks, func(l tree.Lock) bool { return !l.Covers(name) }), err
}

// Holds is no look at the resource: a store finds the lock by its token.
func (v *fakeView) Holds(name, token string) (bool, error) {
	if name == "broken" {
		return false, errDisk
	}
	return slices.ContainsFunc(v.locks, func(l tree.Lock) bool { return l.Token == token && l.Covers(name) }), nil
}

// modified has a fraction: the disk keeps one, Last-Modified does not.
var modified = time.Date(2020, 1, 2, 3, 4, 5, 600e6, time.UTC)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	atModified = "Thu, 02 Jan 2020 03:04:05 GMT"
	before     = "Thu, 02 Jan 2020 03:04:04 GMT"
	after      = "Thu, 02 Jan 2020 03:04:06 GMT"
)

// world is a small tree: f and g are files, odd has a tag of unusual bytes, the tag of cold is not known, d is a
// collection, none is nothing. f is locked by urn:f, and all below d by urn:d.
func world() *fakeView {
	file := func(tag tree.ETag) tree.State {
		return tree.State{Exists: true, Tag: tag, Size: 1, Modified: modified, Dates: tree.DateRange{LastModified: modified}}
	}
	return &fakeView{
		states: map[string]tree.State{
			"":         {Exists: true, Collection: true, Modified: modified},
			"d":        {Exists: true, Collection: true, Modified: modified},
			"f":        file(`"f"`),
			"g":        file(`"g"`),
			"odd":      file("\"a,b\xfc*\""),
			"cold":     file(""),
			"d/m":      file(`"m"`),
			"d/cold":   file(""),
			"gone":     {Modified: modified},
			"timeless": {Exists: true, Tag: `"t"`},
		},
		locks: []tree.Lock{
			{Token: "urn:f", Root: "f"},
			{Token: "urn:d", Root: "d", Infinite: true},
		},
	}
}

// resolve knows one server, whose tree is at its root.
func resolve(ref string) (string, bool) {
	ref = strings.TrimPrefix(ref, "http://here")
	name, ok := strings.CutPrefix(ref, "/")
	return strings.TrimSuffix(name, "/"), ok
}

// headers reads "Name: value" lines.
func headers(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

func parse(t *testing.T, target string, lines ...string) *Conditions {
	t.Helper()
	c, err := Parse(headers(lines...), now, target, resolve, Strict)
	if err != nil {
		t.Fatalf("Parse(%q): %v", lines, err)
	}
	return c
}

// answer writes an error as a row of a table does: "412 header resource", "304", "hash", "423 resource token", "".
func answer(err error) string {
	var failed *Failed
	var notModified *NotModified
	var locked *tree.LockedError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &failed):
		if failed.Have.Name != failed.Name {
			return fmt.Sprintf("%q has the state of %q", failed.Name, failed.Have.Name)
		}
		return "412 " + failed.Header + " " + failed.Name
	case errors.As(err, &notModified):
		return "304"
	case errors.As(err, &locked):
		return "423 " + locked.Name + " " + locked.Lock.Token
	case err == tree.ErrTagUnknown:
		return "hash"
	}
	return err.Error()
}

type row struct {
	name   string
	method string // "read", "write", "if", "guard"
	target string
	lines  []string
	want   string
}

func (r row) run(t *testing.T) {
	v, c := world(), parse(t, r.target, r.lines...)
	methods := map[string]func(tree.View) error{"read": c.Read, "write": c.write, "if": c.IfOnly, "guard": c.Guard}
	err := methods[r.method](v)
	if got := answer(err); got != r.want {
		t.Errorf("%s %q %q = %q, want %q", r.method, r.target, r.lines, got, r.want)
	}
	if again := answer(methods[r.method](v)); again != r.want {
		t.Errorf("asked a second time: %q, want %q", again, r.want)
	}
}

// write asks of a write that no lock could be in the way of.
func (c *Conditions) write(v tree.View) error { return c.Write(v) }

func lines(l ...string) []string { return l }

func TestNoConditionsAskNothing(t *testing.T) {
	v, c := world(), parse(t, "f")
	for _, ask := range []func(tree.View) error{c.Read, c.write, c.Guard, c.IfOnly} {
		if err := ask(v); err != nil {
			t.Error(err)
		}
	}
	if v.asked != 0 {
		t.Errorf("the View was asked %d times", v.asked)
	}
}

// RFC 9110 §13.1 and §13.2, one row per sentence that binds an origin server.
func TestConditions(t *testing.T) {
	for _, r := range []row{
		// §13.1.1 If-Match
		{"If-Match * is true if something exists", "write", "f", lines(`If-Match: *`), ""},
		{"If-Match * is true of a collection", "write", "d", lines(`If-Match: *`), ""},
		{"If-Match * is false if nothing exists", "write", "none", lines(`If-Match: *`), "412 If-Match none"},
		{"If-Match of the current tag is true", "write", "f", lines(`If-Match: "f"`), ""},
		{"If-Match of another tag is false", "write", "f", lines(`If-Match: "old"`), "412 If-Match f"},
		{"If-Match lists: any tag may match", "write", "f", lines(`If-Match: "a", "f" ,"b"`), ""},
		{"If-Match lists: none matches", "write", "f", lines(`If-Match: "a", "b"`), "412 If-Match f"},
		{"If-Match uses strong comparison", "write", "f", lines(`If-Match: W/"f"`), "412 If-Match f"},
		{"If-Match of a tag is false of nothing", "write", "none", lines(`If-Match: "f"`), "412 If-Match none"},
		{"If-Match of a tag is false of a collection", "write", "d", lines(`If-Match: "f"`), "412 If-Match d"},
		{"If-Match on GET fails with 412", "read", "f", lines(`If-Match: "old"`), "412 If-Match f"},
		{"If-Match on GET may be true", "read", "f", lines(`If-Match: "f"`), ""},
		{"If-Match tags have commas, stars and obs-text", "write", "odd", lines("If-Match: \"x\",\"a,b\xfc*\""), ""},
		{"If-Match tags are compared by byte and case", "write", "f", lines(`If-Match: "F"`), "412 If-Match f"},
		{"If-Match in several lines is one list", "write", "f", lines(`If-Match: "a"`, `If-Match: "f"`), ""},
		{"If-Match ignores empty elements", "write", "f", lines(`If-Match: , ,,"f",	,`), ""},
		{"If-Match that is empty fails closed", "write", "f", lines(`If-Match:`), "412 If-Match f"},
		{"If-Match of empty elements fails closed", "write", "f", lines(`If-Match: , ,`), "412 If-Match f"},
		{"If-Match unquoted fails closed", "write", "f", lines(`If-Match: f`), "412 If-Match f"},
		{"If-Match unterminated fails closed", "write", "f", lines(`If-Match: "f`), "412 If-Match f"},
		{"If-Match malformed after a match fails closed", "write", "f", lines(`If-Match: "f", g`), "412 If-Match f"},
		{"If-Match without commas fails closed", "write", "f", lines(`If-Match: "f" "g"`), "412 If-Match f"},
		{"If-Match with a space in the tag fails closed", "write", "f", lines(`If-Match: "f", "a b"`), "412 If-Match f"},
		{"If-Match w/ in lower case fails closed", "write", "f", lines(`If-Match: "f", w/"x"`), "412 If-Match f"},
		{"If-Match mixing * and tags fails closed", "write", "f", lines(`If-Match: *, "f"`), "412 If-Match f"},
		{"If-Match mixing tags and * fails closed", "write", "f", lines(`If-Match: "f"`, `If-Match: *`), "412 If-Match f"},
		{"If-Match * sent twice is *", "write", "f", lines(`If-Match: *`, `If-Match: *`), ""},

		// §13.1.2 If-None-Match
		{"If-None-Match * is true if nothing exists", "write", "none", lines(`If-None-Match: *`), ""},
		{"If-None-Match * is false if something exists", "write", "f", lines(`If-None-Match: *`), "412 If-None-Match f"},
		{"If-None-Match * is false of a collection", "write", "d", lines(`If-None-Match: *`), "412 If-None-Match d"},
		{"If-None-Match * sent twice is *", "write", "f", lines(`If-None-Match: *`, `If-None-Match: *`), "412 If-None-Match f"},
		{"If-None-Match of the current tag fails a write", "write", "f", lines(`If-None-Match: "f"`), "412 If-None-Match f"},
		{"If-None-Match of another tag lets a write go", "write", "f", lines(`If-None-Match: "a", "b"`), ""},
		{"If-None-Match uses weak comparison on writes", "write", "f", lines(`If-None-Match: W/"f"`), "412 If-None-Match f"},
		{"If-None-Match uses weak comparison on reads", "read", "f", lines(`If-None-Match: W/"f"`), "304"},
		{"If-None-Match of the current tag answers GET with 304", "read", "f", lines(`If-None-Match: "a", "f"`), "304"},
		{"If-None-Match in several lines is one list", "read", "f", lines(`If-None-Match: "a"`, `If-None-Match: "f"`), "304"},
		{"If-None-Match of another tag answers GET in full", "read", "f", lines(`If-None-Match: "a"`), ""},
		{"If-None-Match * answers GET with 304", "read", "f", lines(`If-None-Match: *`), "304"},
		{"If-None-Match of a tag is true of a collection", "read", "d", lines(`If-None-Match: "f"`), ""},
		{"If-None-Match of a tag is true of nothing", "write", "none", lines(`If-None-Match: "f"`), ""},
		{"If-None-Match malformed matches nothing on writes", "write", "f", lines(`If-None-Match: JoplinIgnore-12345`), ""},
		{"If-None-Match malformed matches nothing on reads", "read", "f", lines(`If-None-Match: "f", x`), ""},
		{"If-None-Match empty matches nothing", "write", "f", lines(`If-None-Match:`), ""},

		// §13.1.3 If-Modified-Since
		{"If-Modified-Since the modification: 304", "read", "f", lines("If-Modified-Since: " + atModified), "304"},
		{"If-Modified-Since a later date: 304", "read", "f", lines("If-Modified-Since: " + after), "304"},
		{"If-Modified-Since an earlier date: in full", "read", "f", lines("If-Modified-Since: " + before), ""},
		{"If-Modified-Since is ignored beside If-None-Match", "read", "f",
			lines("If-Modified-Since: "+atModified, `If-None-Match: "a"`), ""},
		{"If-Modified-Since is ignored beside a malformed If-None-Match", "read", "f",
			lines("If-Modified-Since: "+atModified, `If-None-Match: a`), ""},
		{"If-Modified-Since that is no date is ignored", "read", "f", lines("If-Modified-Since: 2020-01-02"), ""},
		{"If-Modified-Since with two lines is ignored", "read", "f",
			lines("If-Modified-Since: "+after, "If-Modified-Since: "+after), ""},
		{"If-Modified-Since is ignored by other methods", "write", "f", lines("If-Modified-Since: " + after), ""},
		{"If-Modified-Since is ignored without a modification date", "read", "timeless", lines("If-Modified-Since: " + after), ""},
		{"If-Modified-Since is not about nothing", "read", "gone", lines("If-Modified-Since: " + after), ""},
		{"If-Modified-Since in the form of RFC 850", "read", "f", lines("If-Modified-Since: Thursday, 02-Jan-20 03:04:05 GMT"), "304"},
		{"If-Modified-Since in the form of asctime", "read", "f", lines("If-Modified-Since: Thu Jan  2 03:04:05 2020"), "304"},

		// §13.1.4 If-Unmodified-Since
		{"If-Unmodified-Since the modification is true", "write", "f", lines("If-Unmodified-Since: " + atModified), ""},
		{"If-Unmodified-Since a later date is true", "write", "f", lines("If-Unmodified-Since: " + after), ""},
		{"If-Unmodified-Since an earlier date is false", "write", "f",
			lines("If-Unmodified-Since: " + before), "412 If-Unmodified-Since f"},
		{"If-Unmodified-Since fails a GET too", "read", "f", lines("If-Unmodified-Since: " + before), "412 If-Unmodified-Since f"},
		{"If-Unmodified-Since before our calendar is a date", "write", "f",
			lines("If-Unmodified-Since: Mon, 01 Jan 0001 00:00:00 GMT"), "412 If-Unmodified-Since f"},
		{"If-Unmodified-Since in the form of RFC 850", "write", "f",
			lines("If-Unmodified-Since: Thursday, 02-Jan-20 03:04:04 GMT"), "412 If-Unmodified-Since f"},
		{"If-Unmodified-Since in the form of RFC 850, of the last century", "write", "f",
			lines("If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT"), "412 If-Unmodified-Since f"},
		{"If-Unmodified-Since in the form of RFC 850, 50 years ahead", "write", "f",
			lines("If-Unmodified-Since: Wednesday, 01-Jan-76 00:00:00 GMT"), ""},
		{"If-Unmodified-Since in the form of RFC 850, more than 50 years ahead", "write", "f",
			lines("If-Unmodified-Since: Friday, 03-Jan-76 00:00:00 GMT"), "412 If-Unmodified-Since f"},
		{"If-Unmodified-Since in the form of asctime", "write", "f",
			lines("If-Unmodified-Since: Thu Jan  2 03:04:04 2020"), "412 If-Unmodified-Since f"},
		{"If-Unmodified-Since is false of a collection", "write", "d", lines("If-Unmodified-Since: " + atModified), "412 If-Unmodified-Since d"},
		{"If-Unmodified-Since is false of a collection, however late", "write", "", lines("If-Unmodified-Since: " + after), "412 If-Unmodified-Since "},
		{"If-Unmodified-Since is false of a collection that is read", "read", "d", lines("If-Unmodified-Since: " + after), "412 If-Unmodified-Since d"},
		{"If-Modified-Since never is of a collection", "read", "d", lines("If-Modified-Since: " + after), ""},
		{"If-Unmodified-Since is ignored beside If-Match", "write", "f",
			lines("If-Unmodified-Since: "+before, `If-Match: "f"`), ""},
		{"If-Unmodified-Since does not help a malformed If-Match", "write", "f",
			lines("If-Unmodified-Since: "+after, `If-Match: f`), "412 If-Match f"},
		{"If-Unmodified-Since that is no date is ignored", "write", "f", lines("If-Unmodified-Since: yesterday"), ""},
		{"If-Unmodified-Since with two lines is ignored", "write", "f",
			lines("If-Unmodified-Since: "+before, "If-Unmodified-Since: "+before), ""},
		{"If-Unmodified-Since is ignored without a modification date", "write", "timeless", lines("If-Unmodified-Since: " + before), ""},
		{"If-Unmodified-Since of what was deleted is false", "write", "none",
			lines("If-Unmodified-Since: " + after), "412 If-Unmodified-Since none"},

		// §13.2.2, the order
		{"step 1 before step 3: If-Match fails first", "read", "f",
			lines(`If-Match: "old"`, `If-None-Match: "f"`), "412 If-Match f"},
		{"step 1 true, then step 3", "read", "f", lines(`If-Match: "f"`, `If-None-Match: "f"`), "304"},
		{"step 1 true, then step 3 on a write", "write", "f", lines(`If-Match: "f"`, `If-None-Match: *`), "412 If-None-Match f"},
		{"step 1 true, then step 4", "read", "f", lines(`If-Match: "f"`, "If-Modified-Since: "+after), "304"},
		{"step 2 true, then step 3", "read", "f", lines("If-Unmodified-Since: "+after, `If-None-Match: "f"`), "304"},
		{"step 2 false before step 3", "read", "f",
			lines("If-Unmodified-Since: "+before, `If-None-Match: "f"`), "412 If-Unmodified-Since f"},
		{"step 2 true, then step 4", "read", "f", lines("If-Unmodified-Since: "+after, "If-Modified-Since: "+after), "304"},
		{"If comes before all", "read", "f", lines(`If: (["old"])`, `If-Match: "old"`, `If-None-Match: "f"`), "412 If f"},
		{"If true, then If-None-Match", "read", "f", lines(`If: (["f"])`, `If-None-Match: "f"`), "304"},
		{"If true, then If-Match", "write", "f", lines(`If: (["f"])`, `If-Match: "old"`), "412 If-Match f"},
		{"Guard leaves out what answers 304", "guard", "f", lines(`If-None-Match: "f"`, "If-Modified-Since: "+after), ""},
		{"Guard has If-Match", "guard", "f", lines(`If-Match: "old"`), "412 If-Match f"},
		{"Guard has If", "guard", "f", lines(`If: (["old"])`), "412 If f"},

		// §13.2.1
		{"PROPFIND and OPTIONS ignore all but If", "if", "f",
			lines(`If-Match: "old"`, `If-None-Match: *`, "If-Unmodified-Since: "+before, "If-Modified-Since: "+after), ""},
		{"PROPFIND and OPTIONS honour If", "if", "f", lines(`If: (["old"])`), "412 If f"},

		// unknown tags
		{"a tag decides If-Match", "write", "cold", lines(`If-Match: "x"`), "hash"},
		{"a tag decides If-Match on GET", "read", "cold", lines(`If-Match: "x"`), "hash"},
		{"a tag decides If-None-Match", "write", "cold", lines(`If-None-Match: "x"`), "hash"},
		{"a tag decides If-None-Match on GET", "read", "cold", lines(`If-None-Match: W/"x"`), "hash"},
		{"Guard does not wait for If-None-Match", "guard", "cold", lines(`If-None-Match: "x"`), ""},
		{"Guard waits for If-Match", "guard", "cold", lines(`If-Match: "x"`), "hash"},
		{"* needs no tag", "write", "cold", lines(`If-Match: *`), ""},
		{"* needs no tag to fail", "write", "cold", lines(`If-None-Match: *`), "412 If-None-Match cold"},
		{"* needs no tag for 304", "read", "cold", lines(`If-None-Match: *`), "304"},
		{"dates need no tag", "read", "cold", lines("If-Modified-Since: " + after), "304"},
		{"a malformed list needs no tag", "write", "cold", lines(`If-Match: "x", y`), "412 If-Match cold"},
		{"a malformed If-None-Match needs no tag", "read", "cold", lines(`If-None-Match: x`), ""},
		{"an empty list needs no tag", "write", "cold", lines(`If-Match: ,`), "412 If-Match cold"},
		{"weak tags need no tag for strong comparison", "write", "cold", lines(`If-Match: W/"x"`), "412 If-Match cold"},
		{"a later false condition needs no tag", "write", "cold",
			lines(`If-Match: "x"`, `If-None-Match: *`), "412 If-None-Match cold"},
		{"a false If-Match needs no tag of If", "write", "f", lines(`If: </cold> (["x"])`, `If-Match: "old"`), "412 If-Match f"},
		{"an undecided If-Match is not answered with 304", "read", "cold", lines(`If-Match: "x"`, `If-None-Match: *`), "hash"},
		{"a date does not decide for an undecided If-Match", "read", "cold",
			lines(`If-Match: "x"`, "If-Modified-Since: "+after), "hash"},

		// errors of the View
		{"an error of the View is returned by If-Match", "write", "broken", lines(`If-Match: "x"`), errDisk.Error()},
		{"an error of the View is returned by If-None-Match", "write", "broken", lines(`If-None-Match: *`), errDisk.Error()},
		{"an error of the View is returned by dates", "write", "broken", lines("If-Unmodified-Since: " + after), errDisk.Error()},
		{"an error of the View is returned by reads", "read", "broken", lines(`If-None-Match: *`), errDisk.Error()},
		{"an error of the View is returned by If", "if", "f", lines(`If: </broken> (["x"])`), errDisk.Error()},
		{"an error of the View is returned with the failure", "if", "broken", lines(`If: <http://there/f> (["x"])`), errDisk.Error()},
		{"an error of the locks is returned by If", "if", "f", lines(`If: </broken> (Not <urn:x>)`), errDisk.Error()},
	} {
		t.Run(r.name, r.run)
	}
}

// A tag of a proxy matches in every header with tags, if Loose is chosen. Otherwise the refusal can explain it.
func TestMangledTags(t *testing.T) {
	for _, r := range []struct {
		method, header string
		strict, loose  string
		hint           bool
	}{
		{"write", `If-Match: W/"f"`, "412 If-Match f", "", true},
		{"write", `If-Match: "old", "f-gzip"`, "412 If-Match f", "", true},
		{"write", `If-Match: "f-gzip", x`, "412 If-Match f", "412 If-Match f", false},
		{"write", `If-Match: "old-gzip"`, "412 If-Match f", "412 If-Match f", false},
		{"read", `If-Match: "f-br"`, "412 If-Match f", "", true},
		{"write", `If-None-Match: "f-gzip"`, "", "412 If-None-Match f", false},
		{"read", `If-None-Match: "f-zstd"`, "", "304", false},
		{"if", `If: (["f--gzip"])`, "412 If f", "", true},
		{"if", `If: (Not ["f-gzip"])`, "", "412 If f", false},
		{"if", `If: </g> ([W/"g"])`, "412 If g", "", true},
		{"if", `If: </f> ([W/"f"]) </g> (["f"])`, "412 If g", "", false},
		{"if", `If: </g> (["old"] ["g"])`, "412 If g", "412 If g", false},
	} {
		for matching, want := range map[Matching]string{Strict: r.strict, Loose: r.loose} {
			c, err := Parse(headers(r.header), now, "f", resolve, matching)
			if err != nil {
				t.Fatal(err)
			}
			err = map[string]func(tree.View) error{"read": c.Read, "write": c.write, "if": c.IfOnly}[r.method](world())
			if got := answer(err); got != want {
				t.Errorf("%s %s, matching %d: %q, want %q", r.method, r.header, matching, got, want)
			}
			var failed *Failed
			if errors.As(err, &failed) && failed.Mangled(failed.Have) != (r.hint && matching == Strict) {
				t.Errorf("%s %s, matching %d: hint is %v", r.method, r.header, matching, failed.Mangled(failed.Have))
			}
		}
	}
	// Not known yet: that decides now, and is asked for.
	c, err := Parse(headers(`If-Match: W/"x"`), now, "cold", resolve, Loose)
	if err != nil || answer(c.Write(world())) != "hash" {
		t.Errorf("a weak tag of what is not hashed yet: %v, %v", c.Write(world()), err)
	}
}

func TestFailedTellsWhatIsThere(t *testing.T) {
	c := parse(t, "f", `If-Match: "old"`, `If-Match: "older"`)
	err := c.Write(world())
	var failed *Failed
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	if failed.Header != "If-Match" || failed.Want != `"old", "older"` || failed.Name != "f" {
		t.Errorf("got %+v", *failed)
	}
	if failed.Have.Tag != `"f"` || !failed.Have.Modified.Equal(modified) || failed.Have.Size != 1 {
		t.Errorf("Have = %+v", failed.Have)
	}
	if failed.Error() == "" || (&NotModified{}).Error() == "" {
		t.Error("an error says nothing")
	}
}

// RFC 9110 §13.1.5, one row per sentence.
func TestRangeApplies(t *testing.T) {
	for _, r := range []struct {
		name, target string
		lines        []string
		want         bool
	}{
		{"without If-Range", "f", nil, true},
		{"the current tag", "f", lines(`If-Range: "f"`), true},
		{"another tag", "f", lines(`If-Range: "old"`), false},
		{"a weak tag never matches", "f", lines(`If-Range: W/"f"`), false},
		{"a tag that a proxy has changed is of other bytes", "f", lines(`If-Range: "f-gzip"`), false},
		{"a list is not a validator", "f", lines(`If-Range: "f", "g"`), false},
		{"several lines are not a validator", "f", lines(`If-Range: "f"`, `If-Range: "f"`), false},
		{"* is not a validator", "f", lines(`If-Range: *`), false},
		{"an unquoted tag", "f", lines(`If-Range: f`), false},
		{"an empty value", "f", lines(`If-Range:`), false},
		{"a tag that is not known does not match", "cold", lines(`If-Range: "f"`), false},
		{"the exact date", "f", lines("If-Range: " + atModified), true},
		{"the exact date in another form", "f", lines("If-Range: Thursday, 02-Jan-20 03:04:05 GMT"), true},
		{"an earlier date", "f", lines("If-Range: " + before), false},
		{"a later date is not exact", "f", lines("If-Range: " + after), false},
		{"no date to compare", "timeless", lines("If-Range: " + after), false},
		{"nothing there", "none", lines(`If-Range: "f"`), false},
	} {
		t.Run(r.name, func(t *testing.T) {
			s, _ := world().State(r.target)
			if got := RangeApplies(headers(r.lines...), s); got != r.want {
				t.Errorf("%q on %q = %v, want %v", r.lines, r.target, got, r.want)
			}
		})
	}
}

func TestNamesVersion(t *testing.T) {
	for _, test := range []struct {
		line string
		want bool
	}{
		{`X: y`, false},
		{`If-Match: "a"`, true},
		{`If-Match: *`, false},
		{`If-Match: broken`, true},
		{`If-None-Match: *`, false},
		{`If-None-Match: "a"`, true},
		{`If-Unmodified-Since: Mon, 23 Nov 2026 10:20:30 GMT`, true},
		{`If-Unmodified-Since: broken`, false},
		{`If: (<urn:uuid:1>)`, false},
		{`If: (<urn:uuid:1> ["a"])`, true},
		{`If: (Not ["a"])`, true},
		{`If: </other> (<urn:uuid:1>) (["a"])`, true},
	} {
		if got := parse(t, "f", test.line).NamesVersion(); got != test.want {
			t.Errorf("%s: got %v", test.line, got)
		}
	}
}

// RFC 9110 §13.2.1, RFC 4918 §10.4.1: which of several answers a write gets.
func TestOrder(t *testing.T) {
	for _, r := range []struct {
		name, target string
		lines        []string
		want         string
	}{
		{"locked", "f", nil, "423 f urn:f"},
		{"a false If before a lock", "f", lines(`If: (["a"])`), "412 If f"},
		{"a false If of another resource before a lock", "f", lines(`If: </g> (["a"])`), "412 If g"},
		{"a false If before a false If-Match", "f", lines(`If: (["a"])`, `If-Match: "a"`), "412 If f"},
		{"a lock behind a true If", "f", lines(`If: (["f"])`), "423 f urn:f"},
		{"a lock before a false If-Match", "f", lines(`If-Match: "a"`), "423 f urn:f"},
		{"a lock before a malformed If-Match", "f", lines(`If-Match: a`), "423 f urn:f"},
		{"a lock before a true If-Match", "f", lines(`If-Match: "f"`), "423 f urn:f"},
		{"a lock before If-None-Match", "f", lines(`If-None-Match: *`), "423 f urn:f"},
		{"a lock before If-Unmodified-Since", "f", lines("If-Unmodified-Since: " + before), "423 f urn:f"},
		{"its token, and a false If-Match", "f", lines(`If: (<urn:f>)`, `If-Match: "a"`), "412 If-Match f"},
		{"its token, and all is true", "f", lines(`If: (<urn:f>)`, `If-Match: "f"`), ""},
		{"a lock needs no tag of If-Match", "d/cold", lines(`If-Match: "x"`), "423 d/cold urn:d"},
		{"a tag decides whether it is If or the lock", "d/cold", lines(`If: (["x"])`), "hash"},
		{"no tag is needed where there is no lock", "cold", lines(`If: (["x"])`, `If-None-Match: *`), "412 If-None-Match cold"},
	} {
		t.Run(r.name, func(t *testing.T) {
			if got := answer(parse(t, r.target, r.lines...).Write(world(), Resource(r.target))); got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
		})
	}
}
