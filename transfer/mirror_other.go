//go:build !unix

package transfer

import (
	"errors"
	iofs "io/fs"
	"os"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

var errNoMirror = errors.New("an export needs Unix")

type mark struct {
	ID  string
	Tag tree.ETag
}

func markOf(string, iofs.FileInfo, tree.ETag) mark { return mark{} }

func (mark) of(iofs.FileInfo) bool { return false }

func (m *Mirror) readMark(string, iofs.FileInfo) (mark, error) { return mark{}, errNoMirror }

func (m *Mirror) mark(string, mark) error { return errNoMirror }

func (m *Mirror) markFile(*os.File, mark) error { return errNoMirror }

func (m *Mirror) tryMark() error { return errNoMirror }

func lockFile(*os.Root, string) (func() error, error) { return nil, errNoMirror }

func isBadName(error) bool { return false }
