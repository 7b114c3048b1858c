package etagfs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A store that looks after its history looks for large properties that nobody has any more, from its start on.
func TestLargePropertiesAreSwept(t *testing.T) {
	dir := quickDir(t)
	s := openQuietly(t, dir, fs.Options{})
	err := lay("f=1", "f*", "g=2", "g*")(s)
	if err == nil {
		err = s.PatchProperties(ctx, "g", patchLarge("p", "other"), tree.Condition{})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Close()

	swept := make(chan string, 10)
	below, err := fs.Open(dir, fs.Options{
		Now: func() time.Time { return time.Now().Add(25 * time.Hour) },
		Before: func(c vfs.Call) error {
			if c.Op == "rename" && strings.HasPrefix(c.Name, ".ifmatch/properties/") {
				swept <- c.Name
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err = etagfs.New(below, etagfs.Options{History: &history.Retention{Keep: 1000 * time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	<-swept
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(swept) > 0 {
		t.Errorf("%d more are swept than nobody has", len(swept))
	}
}

// Large properties that many clients set at once are all kept: each patch is of what the one before has left.
func TestLargePropertiesSetAtOnce(t *testing.T) {
	s := openQuietly(t, quickDir(t), fs.Options{Durability: fs.None})
	defer s.Close()
	if err := put(s, "f", "1", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	var patches errgroup.Group
	const clients, each = 8, 7 << 10
	for i := range clients {
		patches.Go(func() error {
			return s.PatchProperties(ctx, "f", patch(fmt.Sprint("p", i), strings.Repeat(fmt.Sprint(i), each)),
				tree.Condition{})
		})
	}
	if err := patches.Wait(); err != nil {
		t.Error(err)
	}
	state, err := s.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantProperties})
	if err != nil || len(state.Properties) != clients {
		t.Errorf("%d are kept, error %v", len(state.Properties), err)
	}
	for _, p := range state.Properties {
		if len(p.InnerXML) != each {
			t.Errorf("%s has %d bytes", p.XMLName.Local, len(p.InnerXML))
		}
	}
}
