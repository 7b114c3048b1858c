package precondition

import (
	"errors"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// RFC 6585 §3: which conditions count for which name.
func TestRequired(t *testing.T) {
	for _, r := range []struct {
		name, about string // about: the name to be replaced or removed. The Request-URI is f or cold.
		lines       []string
		want        string
	}{
		{"nothing there needs none", "none", nil, ""},
		{"something there needs one", "f", nil, "428 f"},
		{"a collection needs one", "d", nil, "428 d"},
		{"If-Match is one", "f", lines(`If-Match: "f"`), ""},
		{"If-Match is about the Request-URI alone", "g", lines(`If-Match: "f"`), "428 g"},
		{"If-None-Match is one", "f", lines(`If-None-Match: "a"`), ""},
		{"a malformed If-None-Match is none", "f", lines(`If-None-Match: a`), "428 f"},
		{"If-Unmodified-Since is one", "f", lines("If-Unmodified-Since: " + atModified), ""},
		{"an invalid If-Unmodified-Since is none", "f", lines("If-Unmodified-Since: then"), "428 f"},
		{"If-Modified-Since is none", "f", lines("If-Modified-Since: " + atModified), "428 f"},

		{"If with its tag is one", "f", lines(`If: (["f"])`), ""},
		{"If with a tag it has not is one", "f", lines(`If: (Not ["a"])`), ""},
		{"If with another's tag is none", "f", lines(`If: </g> (["g"])`), "428 f"},
		{"If with a tag, of what is replaced", "g", lines(`If: </g> (["g"])`), ""},
		{"If with a false list is none", "g", lines(`If: </f> (["f"]) </g> (["a"])`), "428 g"},
		{"If of another server is none", "f", lines(`If: <http://there/f> (["f"])`), "428 f"},
		{"what is always true is none", "f", lines(`If: (Not <DAV:no-lock>)`), "428 f"},
		{"the lack of a lock is none", "f", lines(`If: (Not <urn:x>)`), "428 f"},
		{"its lock is one", "f", lines(`If: (<urn:f>)`), ""},
		{"its lock, submitted anywhere, is one", "f", lines(`Lock-Token: <urn:f>`), ""},
		{"the lock of another is none", "g", lines(`Lock-Token: <urn:f>`), "428 g"},
		{"a lock above is one", "d/m", lines(`If: </d> (<urn:d>)`), ""},

		{"a tag that is not known decides", "cold", lines(`If: </cold> (["x"])`), "hash"},
		{"a true list needs no tag", "cold", lines(`If: </cold> (["x"]) (<urn:x>) (Not [W/"y"])`), ""},
		{"If-Match needs no tag", "f", lines(`If-Match: "f"`, `If: </cold> (["x"])`), ""},
		{"an error of the View is returned", "broken", nil, errDisk.Error()},
		{"an error of the View is returned beside If", "broken", lines(`If: </broken> (["x"])`), errDisk.Error()},
	} {
		t.Run(r.name, func(t *testing.T) {
			err := parse(t, "f", r.lines...).Required(world(), r.about, false)
			got := answer(err)
			if required := new(RequiredError); errors.As(err, &required) {
				got = "428 " + required.Name
				if required.Have.Name != r.about || !required.Have.Exists || required.Error() == "" {
					t.Errorf("it tells %+v", *required)
				}
			}
			if got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
		})
	}
}

// A condition is asked of the version that the commit finds, not of one that was there before.
func TestRequiredIsAskedOfWhatIsThere(t *testing.T) {
	c := parse(t, "f", `If: </g> (["g"])`)
	v := world()
	if err := c.Required(v, "g", false); err != nil {
		t.Fatal(err)
	}
	v.states["g"] = tree.State{Exists: true, Tag: `"other"`}
	if err := c.Required(v, "g", false); err == nil {
		t.Error("the version has changed, and the list is not true of it any more")
	}
}
