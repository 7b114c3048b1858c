package etagfs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A listing reads its directory once and looks once at each member. No file is opened whose tag is known, also where
// its properties and locks are told.
func TestListingLooksOnceAtEachMember(t *testing.T) {
	const members = 200
	layout := []string{"d/", "d/p=1", "d/p+", "d/p!"}
	for i := range members - 1 {
		layout = append(layout, fmt.Sprintf("d/%d=%d", i, i))
	}
	var seam seam
	s := openQuietly(t, quickDir(t), fs.Options{Before: seam.before, Durability: fs.None})
	defer s.Close()
	if err := lay(layout...)(s); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		about string
		want  tree.Want
		limit int
		calls map[string]int // more than what reading the directory takes
	}{
		{"names", 0, 0, map[string]int{"lstat": members, "open d": 1}},
		{"tags", tree.WantTag, 0, map[string]int{"lstat": members, "open d": 1}},
		{"everything", tree.WantTag | tree.WantProperties | tree.WantLocks, 0,
			map[string]int{"lstat": members, "getAttr": members, "open d": 2}},
		{"as many as may be", 0, members, map[string]int{"lstat": members, "open d": 2}},
		{"too many", 0, members - 1, map[string]int{"open d": 1}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			calls := map[string]int{}
			seam.arm(func(_ int, c vfs.Call) error {
				if strings.HasPrefix(c.Name, "d/") {
					calls[c.Op]++
				} else if c.Op == "open" {
					calls["open "+c.Name]++
				}
				return nil
			})
			n := 0
			for m, err := range s.List(ctx, "d", tree.ListOptions{Want: tt.want, Depth: 1, Limit: tt.limit},
				tree.Condition{}) {
				if tt.limit > 0 && tt.limit < members && errors.Is(err, tree.ErrTooMany) {
					n = members
					break
				}
				if m.Name == "d" {
					continue
				}
				if err != nil {
					t.Errorf("%q: %v", m.Name, err)
				}
				if n++; m.Tag == "" && tt.want&tree.WantTag != 0 {
					t.Errorf("%q has no tag", m.Name)
				}
				if m.Name == "d/p" && tt.want&tree.WantProperties != 0 &&
					(len(m.Properties) != 1 || len(m.Locks) != 1) {
					t.Errorf("%q is told as %+v", m.Name, m)
				}
			}
			seam.arm(nil)
			if fmt.Sprint(calls) != fmt.Sprint(tt.calls) || n != members {
				t.Errorf("%d members take the calls %v, want %v for %d", n, calls, tt.calls, members)
			}
		})
	}
}
