package fs

import (
	"context"
	"errors"
	"sync"

	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// free returns the free bytes of the volume's file system, if they are known.
func (v *volume) free() (bytes int64, known bool) {
	space, err := v.calls.Space(v.Top)
	return space.Free, err == nil && space.Size > 0
}

// reserve is called before n bytes are written.
func (r *room) reserve(n int) error {
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
				err = r.freeSpace(err, false)
			}
		}
		if err != nil {
			return err
		}
	}
	for err := r.cover(int64(n)); err != nil; err = r.cover(int64(n)) {
		if err := r.freeSpace(err, false); err != nil {
			return err
		}
	}
	return nil
}

func (r *room) mayMeasure() bool { return r.need.Measure != nil && !r.asked }

// measure asks for the length, and keeps space for all of it.
func (r *room) measure() error {
	r.asked = true
	length, err := r.need.Measure()
	if err != nil || length <= r.length {
		return err
	}
	r.known = true
	return r.promise(length-r.length, 0)
}

// wrote is called when n bytes have been written.
func (r *room) wrote(n int64) {
	if r == nil || n == 0 {
		return
	}
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	r.staged += n
	r.vain, r.tidied = 0, 0
	r.pace.gaveWay = false
	r.hold(all)
}

// release gives back the space that is promised to the room.
func (r *room) release() {
	if r == nil {
		return
	}
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	r.length = 0
	r.hold(all)
	if all.last == r {
		all.last = nil
	}
}

// retry runs step again as long as the disk is full and space can be freed. It must not be called under [FS.Lock].
func (r *room) retry(step func() error) error {
	for {
		err := step()
		if !volumes.IsFull(err) || r == nil {
			return err
		}
		if err := r.freeSpace(err, true); err != nil {
			return err
		}
	}
}

// retryMakingRoom is room.retry for a step that begins a staged version. It finds the full volume from the error.
func (s *FS) retryMakingRoom(ctx context.Context, need Need, step func() error) error {
	var r *room
	defer func() { r.release() }()
	for {
		err := step()
		if !volumes.IsFull(err) || errors.Is(err, errPromised) {
			return err
		}
		if v := s.volumeOfError(err); r == nil || r.volume != v {
			r.release()
			r = &room{volume: v, ctx: ctx, need: need, known: need.isKnown() || need.Measure != nil}
		}
		if err := r.freeSpace(err, true); err != nil {
			return err
		}
	}
}

// uploads are the uploads that this process has open, and the room that it keeps for others between two requests.
type uploads struct {
	mu    sync.Mutex
	open  map[string]bool
	rooms map[string]*room
}

func (a *uploads) enter(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[id] {
		return false
	}
	if a.open == nil {
		a.open, a.rooms = map[string]bool{}, map[string]*room{}
	}
	a.open[id] = true
	return true
}

func (a *uploads) leave(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, id)
}

func (a *uploads) take(id string) *room {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rooms[id]
}

// ForgetUpload gives back the room that is kept for an upload which another process has ended.
func (s *FS) ForgetUpload(id string) { s.uploads.forget(id) }

// forget gives back the room that is kept for an upload.
func (a *uploads) forget(id string) {
	a.mu.Lock()
	r := a.rooms[id]
	delete(a.rooms, id)
	a.mu.Unlock()
	r.release()
}

// idles keeps the room for an upload that goes on in another request. An upload has one room at most, so there are no
// more than uploads.
func (r *room) idles(id string) {
	a := &r.volume.uploads
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rooms[id] = r
}

// serve has the room work for another request.
func (r *room) serve(ctx context.Context, need Need) { r.ctx, r.need.Ask = ctx, need.Ask }
