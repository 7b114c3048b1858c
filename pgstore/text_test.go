package pgstore_test

import (
	"errors"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestTextOfClientsIsNoFault: what a client may send and PostgreSQL takes for no text names nothing.
func TestTextOfClientsIsNoFault(t *testing.T) {
	r := newFaultRig(t, 0)
	r.lay()
	for _, id := range []string{"none", "a\x00b", "\xff"} {
		if _, err := r.direct.OpenUpload(r.ctx, id); !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("the upload %q: error %v", id, err)
		}
		for _, err := range r.direct.Versions(r.ctx, "", tree.VersionOptions{Inside: id}) {
			if !errors.Is(err, tree.ErrNotExist) {
				t.Errorf("the version %q: error %v", id, err)
			}
		}
		if _, _, err := r.direct.OpenVersion(r.ctx, id); !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("the version %q: error %v", id, err)
		}
		if _, err := r.direct.Refresh(r.ctx, "locked", []string{id}, 1, tree.Condition{}); err == nil || errors.Is(err, tree.ErrFailed) {
			t.Errorf("the token %q: error %v", id, err)
		}
		if err := r.direct.Unlock(r.ctx, "locked", id, tree.Condition{}); err == nil || errors.Is(err, tree.ErrFailed) {
			t.Errorf("the token %q: error %v", id, err)
		}
		for _, err := range r.direct.Changes(r.ctx, tree.Cursor(id), "x") {
			if err != nil && !errors.Is(err, tree.ErrNotExist) {
				t.Errorf("the cursor %q: error %v", id, err)
			}
		}
	}
}
