package etagfs

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/afero"
	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// viewOf is a view of a tree with these names, and those on the way to them.
func viewOf(t *testing.T, names ...string) (v *view, there map[string]bool) {
	t.Helper()
	below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(below, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	there = map[string]bool{"": true}
	for _, name := range names {
		for i, c := range name + "/" {
			if c == '/' && !there[name[:i]] {
				there[name[:i]] = true
				if _, err := s.Mkdir(t.Context(), name[:i], tree.MkdirOptions{}, tree.Condition{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return s.newView(), there
}

// spelledOneByOne is what spell shall make of a name, by a look at each segment.
func spelledOneByOne(there map[string]bool, name string) string {
	segments := strings.Split(name, "/")
	found := ""
	for i, segment := range segments {
		var forms []string
		for _, form := range []string{norm.NFC.String(segment), norm.NFD.String(segment)} {
			if isForm(segment) && there[tree.Join(found, form)] && !slices.Contains(forms, form) {
				forms = append(forms, form)
			}
		}
		if there[tree.Join(found, segment)] {
			forms = []string{segment}
		}
		if len(forms) != 1 {
			return tree.Join(found, strings.Join(segments[i:], "/"))
		}
		found = tree.Join(found, forms[0])
	}
	return found
}

func TestSpellIsWhatEachSegmentSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	segments := []string{"a", "\u00fc", "u\u0308", "\u00f6\u00fc", "o\u0308u\u0308", "\u00f6u\u0308", "\xff\u00fc"}
	some := func() string {
		var name []string
		for range 1 + random.IntN(5) {
			name = append(name, segments[random.IntN(len(segments))])
		}
		return strings.Join(name, "/")
	}
	for range 300 {
		var names []string
		for range random.IntN(8) {
			names = append(names, some())
		}
		v, there := viewOf(t, names...)
		for range 50 {
			name := some()
			got := strings.Split(name, "/")
			if _, known := v.spell(got, 0); !known {
				t.Fatalf("of %q, %q takes too many looks", names, name)
			}
			if want := spelledOneByOne(there, name); strings.Join(got, "/") != want {
				t.Fatalf("of %q, %q is %q, want %q", names, name, got, want)
			}
		}
	}
}

func TestFewLooksFindASpelling(t *testing.T) {
	const composed, decomposed = "\u00fc", "u\u0308"
	deep := func(n int, segment string) string { return strings.TrimSuffix(strings.Repeat(segment+"/", n), "/") }
	for _, tt := range []struct {
		about      string
		there      string
		name, want string
		looks      int
	}{
		{"one that is there", deep(300, composed), deep(300, composed), deep(300, composed), 1},
		{"a new one in a deep collection", deep(300, composed), deep(301, composed), deep(301, composed), 3},
		{"one in another form", composed + "/" + composed, composed + "/" + decomposed, composed + "/" + composed, 6},
		{"far from anything", "a", deep(1000, composed), deep(1000, composed), 20},
		{"below the middle", deep(300, composed), deep(600, composed), deep(600, composed), 40},
		{"20 in another form", deep(20, composed), deep(20, decomposed), deep(20, composed), maxLooks},
		{"more than anybody has", deep(300, composed), deep(300, decomposed), "", maxLooks},
	} {
		v, _ := viewOf(t, tt.there)
		segments := strings.Split(tt.name, "/")
		_, known := v.spell(segments, 0)
		got := strings.Join(segments, "/")
		if known != (tt.want != "") || known && got != tt.want {
			t.Errorf("%s: %.60q, known %v; want %.60q", tt.about, got, known, tt.want)
		}
		if norm.NFC.String(got) != norm.NFC.String(tt.name) {
			t.Errorf("%s: %.60q is another name than %.60q", tt.about, got, tt.name)
		}
		if len(v.looks) > tt.looks {
			t.Errorf("%s takes %d looks, want %d at the most", tt.about, len(v.looks), tt.looks)
		}
	}
}

// A name in neither normal form is found in a collection to which a link leads, also if it is a link to nothing.
func TestSpelledThroughLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("NOT RUN: links need rights there")
	}
	const mixed = "\u00e4a\u0308"
	dir := t.TempDir()
	s, _ := openStore(t, dir, Options{})
	for link, target := range map[string]string{"l": "d", "d/" + mixed: "none"} {
		if err := os.MkdirAll(filepath.Join(dir, "d"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, form := range []norm.Form{norm.NFC, norm.NFD} {
		for _, in := range []string{"d/", "l/"} {
			if got, err := s.Spelled(t.Context(), in+form.String(mixed)); got != in+mixed || err != nil {
				t.Errorf("%+q: %+q, %v", in+form.String(mixed), got, err)
			}
		}
	}
}
