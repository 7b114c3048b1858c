//go:build unix

package volumes

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// walkEach is what walk shall do, by a look at each segment.
func (s *Tree) walkEach(name string) (dir string, linked bool, err error) {
	dir = "."
	rest, links := strings.Split(name, "/"), 0
	for len(rest) > 0 {
		segment := rest[0]
		rest = rest[1:]
		switch segment {
		case "", ".":
			continue
		case "..":
			if dir == "." {
				return "", false, ErrEscapes
			}
			dir = path.Dir(dir)
			continue
		}
		here := path.Join(dir, segment)
		if err := s.CheckReserved(here); err != nil {
			return "", false, err
		}
		info, err := s.calls.Lstat(here)
		if err != nil {
			return "", false, err
		}
		if info.Kind != vfs.Link {
			dir = here
			continue
		}
		linked = linked || len(rest) == 0
		target, err := s.calls.Readlink(here)
		if err != nil {
			return "", false, err
		}
		if path.IsAbs(target) {
			return "", false, ErrEscapes
		}
		if links++; links > maxLinks {
			return "", false, syscall.ELOOP
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return dir, linked, nil
}

func TestWalkIsWhatEachSegmentSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	segments := []string{"a", "b", "c", "f", "l", "m", "..", ".", "no"}
	some := func(most int) string {
		var name []string
		for range 1 + random.IntN(most) {
			name = append(name, segments[random.IntN(len(segments))])
		}
		return strings.Join(name, "/")
	}
	reasons := []error{ErrEscapes, ErrReserved, syscall.ELOOP, iofs.ErrNotExist, syscall.ENOTDIR}
	why := func(err error) string {
		for _, reason := range reasons {
			if errors.Is(err, reason) {
				return reason.Error()
			}
		}
		return fmt.Sprint(err)
	}
	found := map[string]int{}
	for range 60 {
		dir := t.TempDir()
		s := openTree(t, dir)
		root, err := os.OpenRoot(dir) // some links lead out of it
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			at := Local(strings.TrimPrefix(path.Clean("/"+some(4)), "/"))
			switch random.IntN(3) {
			case 0:
				_ = root.MkdirAll(at, 0o777)
			case 1:
				_ = root.WriteFile(at, nil, 0o666)
			default:
				_ = root.Symlink([]string{some(4), some(2), OwnDir, "/etc"}[random.IntN(4)], at)
			}
		}
		root.Close()
		for range 200 {
			name := strings.TrimPrefix(path.Clean("/"+some(6)), "/")
			at, linked, err := s.walk(name, nil)
			wantAt, wantLinked, wantErr := s.walkEach(name)
			if at != wantAt || linked != wantLinked || why(err) != why(wantErr) {
				t.Fatalf("%q leads to %q, %v, error %v; want %q, %v, error %v", name, at, linked, err, wantAt,
					wantLinked, wantErr)
			}
			found[why(err)]++
		}
		s.Close()
	}
	for _, reason := range append(reasons, nil) {
		if found[why(reason)] == 0 {
			t.Errorf("nothing has led to %v", reason)
		}
	}
}
