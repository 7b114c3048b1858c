package fs

import (
	"sync"
)

// Close closes a complete member of a staged tree.
func (st *Staged) Close() error {
	if st.file == nil {
		return nil
	}
	f := st.file
	st.file = nil
	return f.Close()
}

// Discard removes a staged version. After a commit it only releases the space that was promised to the version. If the
// removal fails, the version is still on the disk. [FS.EmptyTrash] and [FS.MakeRoom] try again. If they fail too, the
// version is removed with the session. A member is removed with the staged tree that it belongs to.
func (st *Staged) Discard() error {
	st.endWriting()
	st.Release()
	defer st.at.Close()
	if !st.member {
		st.room.release()
	}
	if st.done {
		return nil
	}
	st.done = true
	err := st.volume.calls.RemoveAll(st.at.Name)
	if err != nil && !st.member {
		st.volume.undeleted.add(st.at.Name)
	}
	return err
}

// undeletedNames are the names of staged versions that were discarded and could not be removed. No staged version gets
// such a name again.
type undeletedNames struct {
	mu    sync.Mutex
	names []string
}

// maxLeft bounds the names in undeletedNames. Other versions are removed with the session.
const maxLeft = 1 << 14

func (l *undeletedNames) add(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.names) < maxLeft {
		l.names = append(l.names, name)
	}
}

func (l *undeletedNames) take() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	names, l.names = l.names, nil
	return names
}
