// Package garbage has the collector of Go run less often where little memory is in use.
package garbage

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// The collector of Go begins when the heap has doubled (GOGC=100), and at 4 MiB at the earliest. Where only a few MiB are
// in use, that is every few hundred requests, and took a quarter of the CPU time of small ones.
const (
	// gcHeadroom is how many bytes may be allocated between two collections, about, where little is in use.
	gcHeadroom = 16 << 20
	// leastPercent is Go's own setting. With mostPercent the first collection begins at 16 MiB.
	leastPercent, mostPercent = 100, 400
)

var adjusted sync.Once

// CollectLessOften keeps to gcHeadroom from now on, unless the environment sets GOGC. Where more is in use than that, the
// collector works as ever. A memory limit counts as before.
func CollectLessOften() {
	if os.Getenv("GOGC") == "" {
		adjusted.Do(func() { adjustAfterEach(&collector{percent: leastPercent}) })
	}
}

// A collector knows the percentage that was set last.
type collector struct{ percent int }

// adjustAfterEach has the percentage follow the heap: a cleanup of something that is not used runs after a collection.
func adjustAfterEach(c *collector) {
	c.adjust(inUse())
	runtime.AddCleanup(new([64]byte), adjustAfterEach, c)
}

// adjust sets the percentage for the bytes that are in use. To set it stops all goroutines for a moment, so small changes
// are left out.
func (c *collector) adjust(inUse uint64) {
	percent := percentFor(inUse)
	if difference := percent - c.percent; 4*max(difference, -difference) > c.percent {
		c.percent = percent
		debug.SetGCPercent(percent)
	}
}

// percentFor returns the share of the bytes in use that may be allocated until the next collection, in percent.
func percentFor(inUse uint64) int {
	return int(min(max(100*gcHeadroom/max(inUse, 1), leastPercent), mostPercent))
}

// inUse returns the bytes of the heap that the last collection has left.
func inUse() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
