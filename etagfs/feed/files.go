package feed

import (
	"r-seed-1f3a754f.example/ifmatch/etagfs/journal"
	"r-seed-1f3a754f.example/ifmatch/fs"
)

// journalFiles is the directory of the journal on the disk.
type journalFiles struct {
	FS  *fs.FS
	dir *fs.StateDir
}

func (f journalFiles) List() ([]string, error) { return f.FS.StateFiles(journalDir) }

func (f journalFiles) Open(name string) (journal.Reader, error) {
	return f.FS.OpenStateFile(journalDir + "/" + name)
}

func (f journalFiles) Append(name string, begin bool) (journal.File, error) {
	open := f.dir.AppendTo
	if begin {
		open = f.dir.Append
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return journalFile{file}, nil
}

func (f journalFiles) Remove(name string) error { return f.FS.RemoveStateFile(journalDir + "/" + name) }

type journalFile struct{ *fs.File }

// A journalTurn is the turn to write the journal, of which the lock of the tree tells.
type journalTurn struct{ FS *fs.FS }

func (t journalTurn) IsOurs() bool { return t.FS.IsClaimed() }
func (t journalTurn) Take() error  { return t.FS.Claim() }

func (f journalFile) Size() (size, changed int64, err error) {
	info, err := f.Stat()
	return info.Size, info.Modified, err
}
