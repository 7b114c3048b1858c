package etagfs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// BenchmarkCopyTree copies a collection of 10,000 files, and has cp -r do the same: the ratio is what counts.
func BenchmarkCopyTree(b *testing.B) {
	const collections, files, size = 100, 100, 4 << 10
	dir := b.TempDir()
	for i := range collections {
		sub := filepath.Join(dir, "tree", fmt.Sprint(i))
		if err := os.MkdirAll(sub, 0o777); err != nil {
			b.Fatal(err)
		}
		for j := range files {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(j)), make([]byte, size), 0o666); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, durability := range []fs.Durability{fs.Full, fs.None} {
		b.Run(fmt.Sprint("COPY ", durability), func(b *testing.B) {
			s := openQuietly(b, dir, fs.Options{Durability: durability})
			defer s.Close()
			for b.Loop() {
				if _, _, err := s.Copy(ctx, "tree", "copy", tree.CopyOptions{}, tree.Condition{}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Remove(ctx, "copy", tree.Condition{}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
	for name, command := range map[string]string{"cp -r": "cp -r tree copy",
		"cp -r and sync": "cp -r tree copy && sync -f copy"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				cmd := exec.Command("sh", "-c", command)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				b.StopTimer()
				os.RemoveAll(filepath.Join(dir, "copy"))
				b.StartTimer()
			}
		})
	}
}
