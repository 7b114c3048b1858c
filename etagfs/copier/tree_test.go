package copier

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A whole copy of a large tree holds little of each member, however long the names are.
func TestVersionsOfMembersAreSmall(t *testing.T) {
	const members = 10_000
	long := strings.Repeat("n", 4000)
	held := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := held()
	c := &Copy{copied: versions{}}
	for i := range members {
		c.note(fmt.Sprintf("%s/%d", long, i), vfs.Info{Fingerprint: vfs.Fingerprint{Inode: uint64(i)}})
	}
	if grown := held() - before; grown > members*500 {
		t.Errorf("%d members take %d bytes", members, grown)
	}
	if v := c.copied.at(long + "/7"); len(c.copied) != members || v.Inode != 7 {
		t.Errorf("%d members, one of them %+v", len(c.copied), v)
	}
}
