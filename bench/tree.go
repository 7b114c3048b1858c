package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// A madeTree is a tree that was made to be served.
type madeTree struct {
	files, directories int
	bytes, pathBytes   int64
	hot                []string // some of its files, from all parts
}

const (
	filesPerDirectory = 50
	hotFiles          = 300
	minSize, maxSize  = 1 << 10, 4 << 10
	// With the two directories above, this makes paths of 60 bytes on average.
	minName, maxName = 12, 40
	perCollection    = 200
)

// makeTree makes the same tree of the given number of files each time, as fast as the disk allows: no file is synced.
func makeTree(ctx context.Context, root string, files int) (madeTree, error) {
	directories := max(2, files/filesPerDirectory)
	collections := (directories + perCollection - 1) / perCollection
	leaves := max(1, directories-collections)
	t := madeTree{files: files, directories: collections + leaves}
	var mu sync.Mutex
	making, ctx := errgroup.WithContext(ctx)
	making.SetLimit(2 * runtime.NumCPU())
	for leaf := range leaves {
		first, end := leaf*files/leaves, (leaf+1)*files/leaves
		making.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			dir := fmt.Sprintf("collection-%03d/directory-%08d", leaf%collections, leaf)
			names, bytes, err := fill(filepath.Join(root, dir), first, end)
			mu.Lock()
			defer mu.Unlock()
			t.bytes += bytes
			for i, name := range names {
				name = dir + "/" + name
				t.pathBytes += int64(len(name))
				if (first+i)%max(1, files/hotFiles) == 0 {
					t.hot = append(t.hot, name)
				}
			}
			return err
		})
	}
	return t, making.Wait()
}

// fill makes the files from first to end in a directory.
func fill(dir string, first, end int) (names []string, bytes int64, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, 0, err
	}
	content := rand.NewChaCha8([32]byte{byte(first), byte(first >> 8), byte(first >> 16), byte(first >> 24)})
	r := rand.New(rand.NewPCG(uint64(first), 0))
	buf := make([]byte, maxSize)
	for i := first; i < end; i++ {
		name := fmt.Sprintf("%08d-", i)
		name += strings.Repeat("n", minName+r.IntN(maxName-minName+1)-len(name))
		body := buf[:minSize+r.IntN(maxSize-minSize+1)]
		content.Read(body)
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o666); err != nil {
			return nil, 0, err
		}
		names = append(names, name)
		bytes += int64(len(body))
	}
	return names, bytes, nil
}
