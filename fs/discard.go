package fs

import (
	"context"
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
		st.room.Release()
	}
	if st.done {
		return nil
	}
	st.done = true
	err := st.volume.calls.RemoveAll(st.at.Name)
	if err != nil && !st.member {
		st.volume.trash.DeleteLater(st.at.Name)
	}
	return err
}

// MakeRoom is [FS.MakeRoom] for the commit of a staged file or collection.
func (st *Staged) MakeRoom(ctx context.Context, full error) (freed bool) {
	return st.room.MakeRoom(ctx, full)
}
