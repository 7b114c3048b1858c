package restored

import (
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestReport(t *testing.T) {
	at := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	before := at.Add(-time.Hour)
	left := []tree.LeftAlone{{Name: "f", Reason: "why"}}
	for _, test := range []struct {
		name   string
		result tree.Restored
		dryRun bool
		whole  bool
		want   string
	}{
		{"all is as it was", tree.Restored{Existed: true, Since: before, Returned: 2, Replaced: 1}, false, true,
			"d is what it was at 2026-11-25T10:00:00Z:\n  2 removed files are there again\n" +
				"  1 file has its former content again\n  to take this back: undo 2026-11-25T11:00:00Z\n"},
		{"a dry run", tree.Restored{Existed: true, Since: before, Moved: 1}, true, true,
			"d would be changed to what it was at 2026-11-25T10:00:00Z:\n  1 file or directory would be moved back\n"},
		{"some is left", tree.Restored{Existed: true, Since: before, Removed: 1, Left: left, More: 1}, false, false,
			"d is in part what it was at 2026-11-25T10:00:00Z:\n  1 file that was made since then was removed\n" +
				"  to take this back: undo 2026-11-25T11:00:00Z\n  2 names were left as they are:\n    d/f: why\n    and 1 more\n"},
		{"nothing is to be done", tree.Restored{Existed: true, Since: before}, false, true,
			"d is what it was at 2026-11-25T10:00:00Z already: nothing was restored\n"},
		{"nothing was there", tree.Restored{Since: before}, false, true,
			"nothing was at d at 2026-11-25T10:00:00Z, and nothing is there now\n"},
		{"the changes of then are not known", tree.Restored{Existed: true, Since: at.Add(time.Minute)}, false, false,
			"d: nothing can be restored as of 2026-11-25T10:00:00Z\n" +
				"  what was moved or made before 2026-11-25T10:01:00Z is not known: " +
				"of that time only what was replaced or removed could be looked for\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.result.Began = at.Add(time.Hour)
			var out strings.Builder
			whole := Report{Path: "d", At: at, DryRun: test.dryRun, Restored: test.result,
				Show: func(name string) string { return "d/" + name },
				Undo: func(at string) string { return "undo " + at },
			}.Write(&out)
			if out.String() != test.want || whole != test.whole {
				t.Errorf("it writes, and says %v:\n%s\nwant\n%s", whole, out.String(), test.want)
			}
		})
	}
}
