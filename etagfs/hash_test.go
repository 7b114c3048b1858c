package etagfs

import (
	"context"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A hash that ends between the look into the index and the begin of another one is not computed again. To verify a file
// means to read it all the same.
func TestHashThatHasJustEnded(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=content")
	s, reads := openHooked(t, dir, Options{Now: rested().Now}, func(vfs.Call) error { return nil })
	defer s.Close()
	between := 0
	ctx := tree.WithHashContext(t.Context(), func(ctx context.Context) (context.Context, context.CancelFunc) {
		if between++; between == 1 {
			if _, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag}); err != nil {
				t.Error(err)
			}
		}
		return ctx, func() {}
	})
	state, err := s.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
	if err != nil || state.Tag != treetest.TagOf("content") || between != 1 || reads.Load() != 1 {
		t.Errorf("got %+v, error %v, after %d reads in %d rounds", state, err, reads.Load(), between)
	}
	var r Reading
	if err := s.Warmer().Verify(t.Context(), 1, func(one Reading) { r = one }); err != nil {
		t.Error(err)
	}
	if r.Err != nil || r.Is != state.Tag || r.Was != state.Tag || reads.Load() != 2 {
		t.Errorf("verified: %+v, after %d reads", r, reads.Load())
	}
}
