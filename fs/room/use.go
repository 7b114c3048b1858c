package room

import (
	"context"
	"errors"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// freeBytes returns the free bytes of the volume's file system, if they are known.
func (r *Room) freeBytes() (bytes int64, known bool) {
	space, err := r.rooms.calls.Space(r.volume.Top)
	return space.Free, err == nil && space.Size > 0
}

// Reserve is called before n bytes are written.
func (r *Room) Reserve(n int) error {
	if r == nil {
		return nil
	}
	r.works()
	for r.staged+int64(n) > r.length {
		err := error(nil)
		if r.staged+int64(n) > unmeasured && r.mayMeasure() {
			err = r.measure()
		} else {
			r.known = false // the announced length was too small, so the length is unknown
			err = r.promise(max(grant, int64(n)), int64(n))
		}
		if volumes.IsFull(err) && r.mayMeasure() {
			err = r.measure()
		} else if volumes.IsFull(err) && !r.known {
			if err = r.promise(int64(n), int64(n)); volumes.IsFull(err) {
				err = r.FreeSpace(err, false)
			}
		}
		if err != nil {
			return err
		}
	}
	for err := r.cover(int64(n)); err != nil; err = r.cover(int64(n)) {
		if err := r.FreeSpace(err, false); err != nil {
			return err
		}
	}
	return nil
}

func (r *Room) mayMeasure() bool { return r.need.Measure != nil && !r.asked }

// measure asks for the length, and keeps space for all of it.
func (r *Room) measure() error {
	r.asked = true
	length, err := r.need.Measure()
	if err != nil || length <= r.length {
		return err
	}
	r.known = true
	return r.promise(length-r.length, 0)
}

// Wrote is called when n bytes have been written.
func (r *Room) Wrote(n int64) {
	if r == nil || n == 0 {
		return
	}
	all, unlock := r.lock()
	defer unlock()
	r.staged += n
	r.vain, r.tidied = 0, 0
	r.pace.gaveWay = false
	r.hold(all)
}

// Release gives back the space that is promised to the room.
func (r *Room) Release() {
	if r == nil {
		return
	}
	all, unlock := r.lock()
	defer unlock()
	r.length = 0
	r.hold(all)
	if all.last == r {
		all.last = nil
	}
}

// Retry runs step again as long as the disk is full and space can be freed. It must not be called under the lock of
// a volume.
func (r *Room) Retry(step func() error) error {
	for {
		err := step()
		if !volumes.IsFull(err) || r == nil {
			return err
		}
		if err := r.FreeSpace(err, true); err != nil {
			return err
		}
	}
}

// Retry is [Room.Retry] for a step that begins a staged version. It finds the full volume from the error.
func (s *Rooms) Retry(ctx context.Context, need Need, step func() error) error {
	var r *Room
	defer func() { r.Release() }()
	for {
		err := step()
		if !volumes.IsFull(err) || errors.Is(err, errPromised) {
			return err
		}
		if v := s.tree.VolumeOfError(err); !r.IsOn(v) {
			r.Release()
			r = s.Unpromised(ctx, v, need)
			r.known = need.isKnown() || need.Measure != nil
		}
		if err := r.FreeSpace(err, true); err != nil {
			return err
		}
	}
}

// Keep keeps a room for an upload that goes on in another request. An upload has one room at most, so there are no more
// of these than uploads.
func (s *Rooms) Keep(id string, r *Room) { s.kept.Store(id, r) }

// Kept returns the room that is kept for an upload, or nil.
func (s *Rooms) Kept(id string) *Room {
	r, _ := s.kept.Load(id)
	room, _ := r.(*Room)
	return room
}

// Forget gives back the room that is kept for an upload.
func (s *Rooms) Forget(id string) {
	if r, ok := s.kept.LoadAndDelete(id); ok {
		r.(*Room).Release()
	}
}

// Serve has the room work for another request.
func (r *Room) Serve(ctx context.Context, need Need) { r.ctx, r.need.Ask = ctx, need.Ask }

// Space returns the space of the file system on which a look has found a directory. Promised bytes do not count as
// free. The part of the history that can give way counts as free.
func (s *Rooms) Space(dir string, seen vfs.Info) (vfs.Space, error) {
	space, err := s.calls.Space(dir)
	if err != nil {
		return vfs.Space{}, err
	}
	for _, v := range s.tree.Volumes() {
		if v.Device == volumes.DeviceOf(seen) {
			promises := s.promises(v)
			promises.mu.Lock()
			space.Free += s.history(v).OlderSize() - promises.bytes
			promises.mu.Unlock()
		}
	}
	return space, nil
}
