package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
	"path"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/metadata"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// An upload has a directory in the state directory of the volume that its target is on:
//
//	.ifmatch/uploads/ID/lock   locked as long as a process works on the upload
//	.ifmatch/uploads/ID/data   the bytes. The commit renames the file
//	.ifmatch/uploads/ID/state  a line with the inode of the data and a CRC-32C, and the state of the caller
//
// It belongs to no session, so that it stays when its process dies. If a process dies between the two renames of a
// commit, the data is in the history as a staged version. The recovery puts it back, see UploadOf.
const (
	uploadsPart  = "uploads"
	uploadLock   = "lock"
	uploadData   = "data"
	uploadState  = "state"
	uploadFormat = "ifmatch upload 1 %d %08x"
)

// ErrDamaged says that the state of an upload cannot be read. Its maker may have died before it was written.
var ErrDamaged = errors.New("the state of the upload is damaged")

// ForgetUpload gives back the room that is kept for an upload which another process has ended.
func (s *FS) ForgetUpload(id string) { s.rooms.Forget(id) }

// An Upload is the content of a version that arrives in parts. It is open in one place at a time. Its methods must not
// be called concurrently, and not under [FS.Lock].
type Upload struct {
	volume *volume
	id     string
	dir    string
	lock   *vfs.File
	staged *Staged
	inode  uint64
}

// NewUpload makes an upload, and keeps room for it. The caller must write its state.
func (s *FS) NewUpload(ctx context.Context, id string, need room.Need) (u *Upload, err error) {
	if _, open := s.uploads.LoadOrStore(id, true); open {
		return nil, vfs.ErrBusy
	}
	st, err := s.StageFor(ctx, need)
	if err != nil {
		s.uploads.Delete(id)
		return nil, err
	}
	u = &Upload{volume: st.volume, id: id, dir: path.Join(st.volume.StatePath(uploadsPart), id), staged: st}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Remove(), u.Close())
			u = nil
		}
	}()
	v := u.volume
	if err = v.MakeDir(v.StatePath(uploadsPart)); err != nil {
		return u, err
	}
	if err = v.MakeDir(u.dir); err != nil {
		return u, err
	}
	if err = u.takeLock(); err != nil {
		return u, err
	}
	// The file is made in the session, because directories of users can pass on more than a session does.
	data := v.At(u.dir + "/" + uploadData)
	if err = st.at.RenameNew(data); err != nil {
		return u, err
	}
	st.at.Close()
	st.at = data
	st.endWriting()
	info, err := st.at.Lstat()
	u.inode = info.Inode
	if err == nil {
		err = v.SyncNames(v.StatePath(uploadsPart))
	}
	s.rooms.Keep(id, st.room)
	return u, err
}

// OpenUpload opens an upload. The error is io/fs.ErrNotExist if there is none, and [vfs.ErrBusy] if it is open.
func (s *FS) OpenUpload(id string) (u *Upload, err error) {
	if s.opts.ReadOnly || id == "" || strings.ContainsAny(id, "/.\\") || len(id) > 64 {
		return nil, iofs.ErrNotExist
	}
	if _, open := s.uploads.LoadOrStore(id, true); open {
		return nil, vfs.ErrBusy
	}
	for _, v := range s.volumes() {
		dir := path.Join(v.StatePath(uploadsPart), id)
		if info, failed := s.calls.Lstat(dir); failed != nil || info.Kind != vfs.Directory {
			continue
		}
		u = &Upload{volume: v, id: id, dir: dir}
		if v != s.root {
			err = v.Prepare()
		}
		if err == nil {
			err = u.takeLock()
		}
		if err != nil {
			u.Close()
			return nil, err
		}
		return u, nil
	}
	s.uploads.Delete(id)
	return nil, iofs.ErrNotExist
}

func (u *Upload) takeLock() (err error) {
	if u.lock, err = u.volume.OpenHeld(u.dir + "/" + uploadLock); err != nil {
		return err
	}
	return vfs.Ignoring(u.lock.TryFlock(), errors.ErrUnsupported)
}

// Close ends the work on an upload. The room for the rest of its bytes is kept as long as it moves, see pace.
func (u *Upload) Close() (err error) {
	if st := u.staged; st != nil {
		st.endWriting()
		st.Release()
		st.at.Close()
		st.room.Waits()
	}
	err = u.lock.Close()
	u.volume.uploads.Delete(u.id)
	return err
}

// Remove removes an upload with all that belongs to it. After a commit, the committed version is not part of it.
func (u *Upload) Remove() error {
	u.Finish()
	if st := u.staged; st != nil && !st.done && !vfs.IsIn(st.at.Name, u.dir) {
		u.staged = nil // NewUpload has failed before it moved the file
		_ = st.Discard()
	}
	// Without a state nobody else takes it for an upload. Some systems remove no file that is open.
	err := u.volume.calls.Remove(u.dir + "/" + uploadState)
	err = errors.Join(vfs.Ignoring(err, iofs.ErrNotExist), u.lock.Close())
	u.lock = nil
	return errors.Join(err, u.volume.calls.RemoveAll(u.dir))
}

// Finish ends the writing, and gives back the room for the rest.
func (u *Upload) Finish() {
	u.volume.rooms.Forget(u.id)
	if u.staged != nil {
		u.staged.endWriting()
		u.staged.Release()
		u.staged.room.Release()
	}
}

// DropData removes the bytes, and leaves the state.
func (u *Upload) DropData() error {
	return vfs.Ignoring(u.volume.calls.Remove(u.dir+"/"+uploadData), iofs.ErrNotExist)
}

// Made returns a look at the directory of the upload.
func (u *Upload) Made() (vfs.Info, error) { return u.volume.calls.Lstat(u.dir) }

// ReadState returns the last state that was written. The error is [ErrDamaged] if there is none.
func (u *Upload) ReadState() (state []byte, err error) {
	u.inode, state, err = u.volume.readUpload(u.dir)
	return state, err
}

func (v *volume) readUpload(dir string) (inode uint64, state []byte, err error) {
	data, err := v.ReadFile(dir + "/" + uploadState)
	if errors.Is(err, iofs.ErrNotExist) {
		return 0, nil, ErrDamaged
	}
	if err != nil {
		return 0, nil, err
	}
	line, state, _ := bytes.Cut(data, []byte("\n"))
	var sum uint32
	if _, err := fmt.Sscanf(string(line), uploadFormat, &inode, &sum); err != nil || sum != uploadSum(inode, state) {
		return 0, nil, ErrDamaged
	}
	return inode, state, nil
}

func uploadSum(inode uint64, state []byte) uint32 {
	return crc32.Update(uint32(inode)^uint32(inode>>32), castagnoli, state)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteState replaces the state in one step. It is as durable as a commit when WriteState returns.
func (u *Upload) WriteState(state []byte) error {
	v, name := u.volume, u.dir+"/"+uploadState
	head := fmt.Appendf(nil, uploadFormat+"\n", u.inode, uploadSum(u.inode, state))
	if err := v.ReplaceFile(name, append(head, state...)); err != nil {
		return err
	}
	return v.SyncNames(u.dir)
}

// HasData reports whether the bytes of the upload are there. After a commit they are not. Where a process has died in
// the middle of its commit, HasData first puts them back.
func (u *Upload) HasData(ctx context.Context) (bool, error) {
	is := func() (bool, error) {
		_, err := u.volume.calls.Lstat(u.dir + "/" + uploadData)
		return err == nil, vfs.Ignoring(err, iofs.ErrNotExist)
	}
	if has, err := is(); has || err != nil {
		return has, err
	}
	if err := u.volume.history.Recover(ctx); err != nil {
		return false, err
	}
	return is()
}

// Begin opens the upload for Write. The bytes from an offset on are dropped, which never were part of the state. need
// is about the rest.
func (u *Upload) Begin(ctx context.Context, offset int64, need room.Need) (err error) {
	v, st := u.volume, u.Staged()
	st.room = v.rooms.Kept(u.id)
	kept := st.room != nil // and it has counted what is dropped
	if !kept {
		if st.room, err = v.rooms.Promise(ctx, v.Volume, need); err != nil {
			return err
		}
		v.rooms.Keep(u.id, st.room)
	}
	st.room.Serve(ctx, need)
	defer st.room.Waits()
	st.endWriting()
	if st.file, err = v.calls.AppendTo(st.at.Name); err != nil {
		return err
	}
	info, err := st.file.Stat()
	switch {
	case err != nil:
		return err
	case info.Size < offset:
		return ErrDamaged
	case info.Size == offset:
		return nil
	}
	err = st.file.Truncate(offset)
	if kept && err == nil {
		st.room.Wrote(offset - info.Size)
	}
	st.endWriting() // not all systems write at the new end
	if err == nil {
		st.file, err = v.calls.AppendTo(st.at.Name)
	}
	return err
}

// Rewind drops the last n bytes, which were written since Begin, and ends the writing.
func (u *Upload) Rewind(offset, n int64) error {
	defer u.staged.endWriting()
	if err := u.staged.file.Truncate(offset); err != nil {
		return err
	}
	u.staged.room.Wrote(-n)
	return nil
}

// Sync puts what was written on the disk, as far as the durability asks for it.
func (u *Upload) Sync() error {
	if u.volume.opts.Durability == None {
		return nil
	}
	return u.staged.file.Sync()
}

// ReadAt reads bytes that were written.
func (u *Upload) ReadAt(p []byte, offset int64) (int, error) {
	f, err := u.volume.calls.Open(u.dir + "/" + uploadData)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(p, offset)
}

// Staged returns the upload as a staged version, for Write and for the commit. It must not be discarded.
func (u *Upload) Staged() *Staged {
	if u.staged == nil {
		// A commit that failed may have set the metadata already.
		u.staged = &Staged{
			volume: u.volume, at: u.volume.At(u.dir + "/" + uploadData), kind: vfs.Regular,
			traits: metadata.Setter{Again: true},
		}
	}
	return u.staged
}

// Ready prepares the upload for a commit. The history gives way to a commit on a full disk as need says.
func (u *Upload) Ready(ctx context.Context, need room.Need) {
	st := u.Staged()
	if st.room == nil {
		st.room = u.volume.rooms.Unpromised(ctx, u.volume.Volume, need)
	}
	st.room.Serve(ctx, need)
}

// Committed reports whether the bytes have left the upload: they have a name, or a local program has taken them.
func (u *Upload) Committed() bool { return u.staged != nil && u.staged.done }

// UploadIDs returns the uploads that there are on all volumes that answer.
func (s *FS) UploadIDs() (ids []string, err error) {
	var errs []error
	for _, v := range s.answering() {
		found, err := v.Entries(v.StatePath(uploadsPart))
		errs = append(errs, vfs.Ignoring(err, iofs.ErrNotExist))
		ids = append(ids, found...)
	}
	return ids, errors.Join(errs...)
}

// UploadOf implements [history.Above]. The data that a dead process was about to commit goes back there.
func (v *volume) UploadOf(inode uint64) (data string, err error) {
	ids, err := v.Entries(v.StatePath(uploadsPart))
	for _, id := range ids {
		dir := path.Join(v.StatePath(uploadsPart), id)
		of, _, err := v.readUpload(dir)
		if err == nil && of == inode {
			return dir + "/" + uploadData, nil
		}
		if err = vfs.Ignoring(err, ErrDamaged); err != nil {
			return "", err // it may be the one
		}
	}
	return "", vfs.Ignoring(err, iofs.ErrNotExist)
}
