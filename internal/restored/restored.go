// Package restored writes the result of a restore as of a time for people.
package restored

import (
	"fmt"
	"io"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Report tells of a restore.
type Report struct {
	Path   string // of the restored name, for people
	At     time.Time
	DryRun bool
	Show   func(name string) string // the path of a name, for people
	Undo   func(at string) string   // the command that takes the restore back
	tree.Restored
}

// maxNamed is how many names that were left as they are are written.
const maxNamed = 200

// Write writes the report, and reports whether everything is as it was.
func (r Report) Write(w io.Writer) (whole bool) {
	at := r.At.Format(time.RFC3339)
	whole = len(r.Left)+r.More == 0 && r.isKnown()
	switch would := r.Steps() > 0 && r.DryRun; {
	case would:
		fmt.Fprintf(w, "%s would be changed to what it was at %s:\n", r.Path, at)
	case r.Steps() > 0 && whole:
		fmt.Fprintf(w, "%s is what it was at %s:\n", r.Path, at)
	case r.Steps() > 0:
		fmt.Fprintf(w, "%s is in part what it was at %s:\n", r.Path, at)
	case whole && !r.Existed:
		fmt.Fprintf(w, "nothing was at %s at %s, and nothing is there now\n", r.Path, at)
	case whole:
		fmt.Fprintf(w, "%s is what it was at %s already: nothing was restored\n", r.Path, at)
	default:
		fmt.Fprintf(w, "%s: nothing can be restored as of %s\n", r.Path, at)
	}
	r.writeCounts(w)
	if r.Steps() > 0 && !r.DryRun {
		fmt.Fprintf(w, "  to take this back: %s\n", r.Undo(r.Began.UTC().Format(time.RFC3339Nano)))
	}
	if !r.isKnown() {
		fmt.Fprintf(w, "  what was moved or made before %s is not known: "+
			"of that time only what was replaced or removed could be looked for\n", r.since())
	}
	r.writeLeft(w)
	return whole
}

// isKnown reports whether all changes of the server since then are known.
func (r Report) isKnown() bool { return !r.Since.IsZero() && !r.Since.After(r.At) }

func (r Report) since() string {
	if r.Since.IsZero() {
		return "now"
	}
	return r.Since.Format(time.RFC3339)
}

func (r Report) writeCounts(w io.Writer) {
	for _, line := range []struct {
		n              int
		one, many      string
		would, wouldBe string
	}{
		{r.Returned, "1 removed file is there again", "%d removed files are there again",
			"1 removed file would be there again", "%d removed files would be there again"},
		{r.ReturnedDirs, "1 removed directory is there again", "%d removed directories are there again",
			"1 removed directory would be there again", "%d removed directories would be there again"},
		{r.Replaced, "1 file has its former content again", "%d files have their former content again",
			"1 file would get its former content", "%d files would get their former content"},
		{r.Moved, "1 file or directory was moved back", "%d files or directories were moved back",
			"1 file or directory would be moved back", "%d files or directories would be moved back"},
		{r.Removed, "1 file that was made since then was removed", "%d files that were made since then were removed",
			"1 file that was made since then would be removed", "%d files that were made since then would be removed"},
		{r.RemovedDirs, "1 directory that was made since then was removed",
			"%d directories that were made since then were removed", "1 directory that was made since then would be removed",
			"%d directories that were made since then would be removed"},
	} {
		one, many := line.one, line.many
		if r.DryRun {
			one, many = line.would, line.wouldBe
		}
		switch {
		case line.n == 1:
			fmt.Fprintf(w, "  %s\n", one)
		case line.n > 1:
			fmt.Fprintf(w, "  "+many+"\n", line.n)
		}
	}
}

func (r Report) writeLeft(w io.Writer) {
	n := len(r.Left) + r.More
	switch {
	case n == 0:
		return
	case n == 1:
		fmt.Fprintln(w, "  1 name was left as it is:")
	default:
		fmt.Fprintf(w, "  %d names were left as they are:\n", n)
	}
	named := r.Left[:min(len(r.Left), maxNamed)]
	for _, left := range named {
		fmt.Fprintf(w, "    %s: %s\n", r.Show(left.Name), left.Reason)
	}
	if more := n - len(named); more > 0 {
		fmt.Fprintf(w, "    and %d more\n", more)
	}
}
