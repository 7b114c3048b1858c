package history

import (
	"slices"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// The last whole note of an entry counts, also after a power failure in the middle of a line.
func TestNotes(t *testing.T) {
	a := Note{Entry: "n1-x-1", Path: "d/\x00\t\n\xff", From: "x", Cause: "PUT", By: "a user", Tag: `"abc"`,
		Time: 1 << 60,
		Seen: vfs.Info{Kind: vfs.Regular, Fingerprint: vfs.Fingerprint{Inode: 1<<64 - 1, Size: 5, Modified: -1}}}
	b := Note{Entry: "r2"}
	later := a
	later.Path = "other"
	old, ok := decodeNote("r3\t1\t\"PUT\"\t1\t2\t3\t4\t\"\"\t\"f\"\t\"\"\t.")
	if !ok || old.Path != "f" || old.By != "" {
		t.Errorf("a line from before users were noted is read as %+v, %v", old, ok)
	}
	whole := slices.Concat(a.Encode(), b.Encode())
	if got := decodeNotes(whole); len(got) != 2 || got[a.Entry] != a || got[b.Entry] != b {
		t.Errorf("got %+v", got)
	}
	if got := decodeNotes(append(slices.Clone(whole), later.Encode()...)); got[a.Entry] != later {
		t.Errorf("the last one counts: got %+v", got[a.Entry])
	}
	// The power fails in the middle of one, and the next one comes after it.
	for cut := range len(a.Encode()) {
		got := decodeNotes(slices.Concat(a.Encode()[:cut], b.Encode()))
		if len(got) != 1 || got[b.Entry] != b {
			t.Errorf("cut off at %d: got %+v", cut, got)
		}
	}
}
