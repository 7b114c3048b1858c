package handler

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/net/webdav"
)

// BenchmarkListing is a PROPFIND with Depth: 1 and allprop of a directory on disk whose tags are all known, beside
// x/net/webdav over the same directory. ns/entry is the time for one member.
func BenchmarkListing(b *testing.B) {
	for _, members := range []int{1_000, 100_000} {
		dir := b.TempDir()
		for i := range members {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file %06d.txt", i)), []byte("content"), 0o666); err != nil {
				b.Fatal(err)
			}
		}
		store := settledStore(b, dir, false)
		for name, h := range map[string]http.Handler{
			"ifmatch": newTestHandler(b, Config{Store: store, ReadOnly: true}),
			"xnet":    &webdav.Handler{FileSystem: webdav.Dir(dir), LockSystem: webdav.NewMemLS()},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, members), func(b *testing.B) {
				list := func() {
					c := &counter{header: http.Header{}}
					h.ServeHTTP(c, depthOneRequest("/"))
					if c.status != webdav.StatusMulti {
						b.Fatal(c.status)
					}
				}
				list() // the tags are known from here on
				b.ReportAllocs()
				for b.Loop() {
					list()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(members), "ns/entry")
			})
		}
	}
}
