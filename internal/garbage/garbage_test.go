package garbage

import (
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

// The heap may grow by 16 MiB between two collections, and doubles where more is in use.
func TestPercentForKeepsHeadroom(t *testing.T) {
	for _, test := range []struct {
		inUse uint64
		want  int
	}{
		{0, 400},
		{1 << 10, 400},
		{4 << 20, 400},
		{8 << 20, 200},
		{16 << 20, 100},
		{1 << 30, 100},
	} {
		if got := percentFor(test.inUse); got != test.want {
			t.Errorf("with %d bytes in use it is %d, not %d", test.inUse, got, test.want)
		}
	}
}

// Small changes of the heap do not change the setting, which stops the program for a moment.
func TestCollectorFollowsTheHeap(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	c := &collector{percent: 100}
	for _, step := range []struct {
		inUse uint64
		want  uint64
	}{{4 << 20, 400}, {5 << 20, 400}, {8 << 20, 200}, {9 << 20, 200}, {100 << 20, 100}, {4 << 20, 400}} {
		c.adjust(step.inUse)
		sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(sample)
		if got := sample[0].Value.Uint64(); got != step.want {
			t.Errorf("with %d bytes in use it is %d, not %d", step.inUse, got, step.want)
		}
	}
}
