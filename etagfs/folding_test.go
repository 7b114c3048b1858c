package etagfs_test

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/afero"
	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

var (
	inAnyCase = treetest.Spelling{Name: "case", File: "readme.txt", Other: strings.ToUpper, Fold: strings.ToUpper,
		Kept: true}
	inAnyForm = treetest.Spelling{Name: "normal form", File: "\u00fcbung", Other: norm.NFD.String,
		Fold: norm.NFD.String, Kept: true}
	withDots = treetest.Spelling{Name: "dots and spaces at the end", File: "readme", Kept: false,
		Other: func(name string) string { return name + ". " },
		Fold:  func(name string) string { return strings.TrimRight(name, ". ") }}
	unseen = treetest.Spelling{Name: "characters that are not seen", File: "readme", Kept: true,
		Other: func(name string) string { return name[:1] + "\u00ad" + name[1:] },
		Fold:  func(name string) string { return strings.ReplaceAll(name, "\u00ad", "") }}
	shortened = treetest.Spelling{Name: "short names", File: "a long name.text", Dir: "another name", Kept: true,
		Other: func(name string) string {
			return map[string]string{"a long name.text": "ALONGN~1.TEX", "another name": "ANOTHE~1"}[name]
		},
		Fold: func(name string) string {
			for long, short := range map[string]string{"a long name.text": "ALONGN~1.TEX", "another name": "ANOTHE~1"} {
				name = strings.ReplaceAll(name, short, long)
			}
			return name
		}}
)

// foldingMemory is a MemMapFs that finds names in any case.
type foldingMemory struct{ afero.Fs }

// real returns the name that is there for one.
func (m foldingMemory) real(name string) string {
	real := "."
	for segment := range strings.SplitSeq(path.Clean(name), "/") {
		members, _ := afero.ReadDir(m.Fs, real)
		i := slices.IndexFunc(members, func(fi os.FileInfo) bool { return strings.EqualFold(fi.Name(), segment) })
		if i >= 0 {
			segment = members[i].Name()
		}
		real = path.Join(real, segment)
	}
	return real
}

func (m foldingMemory) Create(name string) (afero.File, error) { return m.Fs.Create(m.real(name)) }
func (m foldingMemory) Open(name string) (afero.File, error)   { return m.Fs.Open(m.real(name)) }
func (m foldingMemory) OpenFile(name string, flag int, mode os.FileMode) (afero.File, error) {
	return m.Fs.OpenFile(m.real(name), flag, mode)
}
func (m foldingMemory) Mkdir(name string, mode os.FileMode) error {
	return m.Fs.Mkdir(m.real(name), mode)
}
func (m foldingMemory) Remove(name string) error    { return m.Fs.Remove(m.real(name)) }
func (m foldingMemory) RemoveAll(name string) error { return m.Fs.RemoveAll(m.real(name)) }
func (m foldingMemory) Rename(from, to string) error {
	if from, is := m.real(from), m.real(to); from == is {
		return m.Fs.Rename(from, path.Join(path.Dir(is), path.Base(to)))
	}
	return m.Fs.Rename(m.real(from), m.real(to))
}
func (m foldingMemory) Stat(name string) (os.FileInfo, error) { return m.Fs.Stat(m.real(name)) }
func (m foldingMemory) Chmod(name string, mode os.FileMode) error {
	return m.Fs.Chmod(m.real(name), mode)
}
func (m foldingMemory) Chtimes(name string, a, b time.Time) error {
	return m.Fs.Chtimes(m.real(name), a, b)
}

func TestFoldingMemory(t *testing.T) {
	treetest.Run(t, treetest.Backend{
		Open: func(t *testing.T, now func() time.Time) (tree.Store, func() tree.Store) {
			openMemory := func() (*etagfs.Store, func()) {
				below, err := fs.OpenAfero(foldingMemory{afero.NewMemMapFs()}, fs.Options{})
				return open(t, etagfs.Options{Now: now, Journal: true}, below, err)
			}
			s, closeNow := openMemory()
			return s, func() tree.Store {
				closeNow()
				s, closeNow = openMemory()
				return s
			}
		},
		Forgets:   "a MemMapFs lives as long as its process",
		AnyLength: "a MemMapFs has no limit for the length of a name",
		NoHistory: "a MemMapFs keeps none",
		Spellings: []treetest.Spelling{inAnyCase},
	})
}
