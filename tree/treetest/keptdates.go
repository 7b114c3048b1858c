package treetest

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// testKeptDates: a client sees the date on the disk, whichever way it looks.
func testKeptDates(t *testing.T, b Backend) {
	f := open(t, b, "f=content", "d/", "d/m=member")
	for _, date := range []time.Time{
		time.Unix(0, 0),
		time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(1901, 12, 13, 20, 45, 52, 0, time.UTC), // the first that fits into 32 bits, and into ext4
		time.Date(1901, 12, 13, 20, 45, 51, 0, time.UTC),
		time.Date(1677, 9, 21, 0, 12, 43, 0, time.UTC), // the first that fits into nanoseconds
		time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC),    // for Windows, this is no time
		time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
		f.clock.Now().Add(time.Hour).Truncate(time.Second),
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC),
		time.Date(2262, 4, 11, 23, 47, 17, 0, time.UTC),
		time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2446, 5, 10, 22, 38, 56, 0, time.UTC), // the first that ext4 does not keep
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		t.Run(date.Format(time.RFC3339), func(t *testing.T) {
			f.t = t
			kept := func(how, name string, s tree.State, err error) bool {
				t.Helper()
				if err != nil {
					t.Errorf("%s: %v", how, err)
					return false
				}
				now := f.stat(name, 0)
				if !now.Modified.Equal(s.Modified) {
					t.Errorf("%s: told %v, and it is %v", how, s.Modified, now.Modified)
				}
				// Some disks keep only even seconds.
				if now.Modified.Sub(date).Abs() > time.Second && now.Modified.Sub(f.clock.Now()).Abs() > time.Hour {
					t.Errorf("%s: neither that time nor the present: %v", how, now.Modified)
				}
				return now.Modified.Equal(date)
			}
			s, _, err := f.Put(f.ctx, "new", strings.NewReader(date.String()), tree.PutOptions{Modified: date, Length: -1}, tree.Condition{})
			keeps := kept("Put", "new", s, err)
			wantAll := func(how string, got bool) {
				t.Helper()
				if got != keeps {
					t.Errorf("%s keeps it: %v, and Put: %v", how, got, keeps)
				}
			}
			s, _, err = f.Put(f.ctx, "same", strings.NewReader("same"), tree.PutOptions{Length: -1}, tree.Condition{})
			kept("Put", "same", s, err)
			s, _, err = f.Put(f.ctx, "same", strings.NewReader("same"), tree.PutOptions{Modified: date, Length: -1}, tree.Condition{})
			wantAll("Put of the same content", kept("Put of the same content", "same", s, err))
			for _, name := range []string{"f", "d"} {
				s, _, err = f.Copy(f.ctx, name, name+"-copied", tree.CopyOptions{Modified: date}, tree.Condition{})
				wantAll("Copy", kept("Copy", name+"-copied", s, err))
				s, _, err = f.Copy(f.ctx, name, name+"-source", tree.CopyOptions{}, tree.Condition{})
				kept("Copy", name+"-source", s, err)
				s, _, err = f.Move(f.ctx, name+"-source", name+"-moved", tree.CopyOptions{Modified: date}, tree.Condition{})
				wantAll("Move", kept("Move", name+"-moved", s, err))

				f.patch(name+"-copied", set("a", "1"))
				f.wantErr("PatchProperties", f.PatchProperties(f.ctx, name+"-copied", tree.Patch{Modified: f.clock.Now()}, tree.Condition{}), nil)
				before := f.stat(name+"-copied", 0)
				patch := tree.Patch{Properties: []webdav.Proppatch{set("a", "2")}, Modified: date}
				err = f.PatchProperties(f.ctx, name+"-copied", patch, tree.Condition{})
				after := f.stat(name+"-copied", 0)
				wantAll("PatchProperties", err == nil)
				if err == nil {
					f.wantProperties(name+"-copied", "a=2")
				} else {
					f.wantErr("PatchProperties", err, tree.ErrTime)
					f.wantProperties(name+"-copied", "a=1")
				}
				if want := map[bool]time.Time{true: date, false: before.Modified}[keeps]; !after.Modified.Equal(want) {
					t.Errorf("PatchProperties: it has %v, want %v", after.Modified, want)
				}
			}
			s, err = f.Mkdir(f.ctx, "made", tree.MkdirOptions{Modified: date}, tree.Condition{})
			wantAll("Mkdir", kept("Mkdir", "made", s, err))
			for _, name := range []string{"new", "same", "f-copied", "d-copied", "f-moved", "d-moved", "made"} {
				f.wantErr("Remove", f.Remove(f.ctx, name, tree.Condition{}), nil)
			}
			f.wantTree("f=content", "d/", "d/m=member")
		})
	}
}
