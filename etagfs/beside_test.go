package etagfs_test

import (
	"strings"
	"testing"
	"time"

	"ifmatch/etagfs"
	"ifmatch/fs"
)

// A store that looks after its history looks for large properties that nobody has any more, from its start on.
func TestLargePropertiesAreSwept(t *testing.T) {
	dir := quickDir(t)
	s := openQuietly(t, dir, fs.Options{})
	err := lay("f=1", "f*", "g=2", "g*")(s)
	if err == nil {
		err = s.PatchProperties(ctx, "g", patchLarge("p", "other"), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Close()

	swept := make(chan string, 10)
	below, err := fs.Open(dir, fs.Options{
		Now: func() time.Time { return time.Now().Add(25 * time.Hour) },
		Before: func(c fs.Call) error {
			if c.Op == "rename" && strings.HasPrefix(c.Name, ".ifmatch/properties/") {
				swept <- c.Name
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err = etagfs.New(below, etagfs.Options{History: &fs.Retention{Keep: 1000 * time.Hour}})
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
