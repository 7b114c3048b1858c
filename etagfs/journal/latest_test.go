package journal

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The latest change of a name is found in all files that are kept, and in no others.
func TestTheLatestChangeOfANameIsFound(t *testing.T) {
	j := openJournal(t, InMemory(), Options{Segment: 2 * chunk, Most: 3})
	latest := func(name string) string {
		t.Helper()
		c, err := j.Latest(t.Context(), name)
		if errors.Is(err, tree.ErrNotExist) {
			return "none"
		} else if err != nil {
			t.Fatal(err)
		}
		return c.Name + " " + string(c.Principal)
	}
	long := strings.Repeat("long/", 400)
	by := func(name string, who tree.Principal) tree.Change {
		c := put(name)
		c.Principal = who
		return c
	}
	if err := j.Append(by("f", "ann")); err != nil {
		t.Fatal(err)
	}
	if got := latest("f"); got != "none" {
		t.Errorf("of a change that has not happened yet: %s", got)
	}
	j.Show()
	first := j.end
	for i := 0; j.end < first+chunk; i++ {
		do(t, j, fmt.Sprint(long, i))
		if got := latest("f"); got != "f ann" {
			t.Fatalf("after %d bytes: %s", j.end, got)
		}
	}
	if got := latest(long + "3"); got != long+"3 " {
		t.Errorf("got %s", got)
	}
	for j.end < first+10*chunk {
		do(t, j, long)
	}
	if got := latest("f"); got != "none" {
		t.Errorf("of a file that is not kept any more: %s", got)
	}
	if err := j.Append(tree.Change{Name: "", Again: true, Cause: tree.CauseDisk, Principal: "x"}); err != nil {
		t.Fatal(err)
	}
	j.Show()
	if got := latest("a/b"); got != " x" {
		t.Errorf("after a gap: %s", got)
	}
}

func BenchmarkLatestOfNone(b *testing.B) {
	j := New(InMemory(), Options{Boot: boot})
	if err := j.Load(); err != nil {
		b.Fatal(err)
	}
	for i := 0; j.end < 30<<20; i++ {
		c := put(fmt.Sprintf("folder/and another/file %d", i))
		c.State.Tag, c.Old = `"hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh"`,
			`"hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh"`
		if err := j.Append(c); err != nil {
			b.Fatal(err)
		}
		j.Show()
	}
	for b.Loop() {
		if _, err := j.Latest(b.Context(), "folder/none"); !errors.Is(err, tree.ErrNotExist) {
			b.Fatal(err)
		}
	}
}
