package compare

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Each raw loop does its whole work: one member more, or fewer, is an error.
func TestRawLoops(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("NOT RUN: the raw loops are for Linux")
	}
	for _, w := range allWorkloads {
		if w.raw == nil {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			s := &site{
				comparison: &comparison{scale: quickScale, log: io.Discard}, server: &server{name: "raw3", raw: true},
				workload: w, result: &result{}, dir: t.TempDir(), state: t.TempDir(),
			}
			s.scale.seconds = 0.01
			if w.fill != nil {
				if err := w.fill(s); err != nil {
					t.Fatal(err)
				}
			}
			if w.before != nil {
				if err := w.before(s, 0); err != nil {
					t.Fatal(err)
				}
			}
			one, err := w.raw(t.Context(), s, 0)
			if err != nil || one.requests == 0 || one.requests != len(one.latencies) {
				t.Fatalf("%d steps, %d latencies: %v", one.requests, len(one.latencies), err)
			}
			if w.verify != nil {
				if err := w.verify(t.Context(), s); err != nil {
					t.Error(err)
				}
				return
			}
			if err := os.RemoveAll(s.dir); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(s.dir, unseenName(0)), 0o777); err != nil {
				t.Fatal(err)
			}
			if _, err := w.raw(t.Context(), s, 0); err == nil {
				t.Error("an empty directory is no error")
			}
		})
	}
}
