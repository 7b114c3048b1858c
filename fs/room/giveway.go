package room

import (
	"context"
	"errors"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
)

// MakeRoom frees space on the disk that an error says is full. It is for a change that needs little room and has been
// decided. MakeRoom deletes removed versions and discarded staged files that are not deleted yet. If there are none, it
// drops the oldest part of the history. It reports whether it has freed any space. It must not be called under the lock
// of a volume.
func (s *Rooms) MakeRoom(ctx context.Context, full error, name string) (freed bool) {
	r := s.Unpromised(ctx, s.tree.VolumeOfError(full), Need{Name: name})
	defer r.Release()
	return r.FreeSpace(full, true) == nil
}

// MakeRoom is [Rooms.MakeRoom] for the commit of the version, on any volume.
func (r *Room) MakeRoom(ctx context.Context, full error) (freed bool) {
	if r == nil {
		return false
	}
	v := r.rooms.tree.VolumeOfError(full)
	if v == r.volume {
		return r.FreeSpace(full, true) == nil
	}
	other := r.rooms.Unpromised(ctx, v, r.need)
	other.known = r.known
	defer other.Release()
	return other.FreeSpace(full, true) == nil
}

// FreeSpace frees some space for a call that has failed because the disk is full, and returns nil if it did. Otherwise
// it returns the error of that call, or the error of need.Ask. step says that the call makes a name or writes a few
// bytes.
func (r *Room) FreeSpace(full error, step bool) error {
	if r == nil {
		return full
	}
	if r.tidy() {
		return nil
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.mayMeasure() {
		if err := r.measure(); err != nil {
			return err
		}
	}
	free, known := r.freeBytes()
	if free > r.free {
		r.vain = 0
	}
	r.free = free
	if r.vain >= maxVain {
		return full
	}
	files := step && known && free >= scarce
	g, err := r.history.FindDroppable(r.ctx, r.claimed())
	if err != nil {
		r.rooms.report(err)
		return full
	}
	if errors.Is(full, syscall.EDQUOT) || !known {
		free = 0
	}
	missing := r.missing(free)
	if r.known && missing > g.Older && (!r.mayDropLast(false) || missing > g.Older+g.OfLast(r.ctx, missing)) {
		return full
	}
	if dropped, err := g.DropOldest(r.ctx, r.ask); err != nil {
		return err
	} else if dropped {
		r.vain++
		return nil
	}
	if !r.known || !files && r.length-r.staged > r.tailOf(r.length) || !r.mayDropLast(true) {
		return full
	}
	if err := r.ask(); err != nil {
		return err
	}
	if !g.DropOfLast(r.ctx, max(missing, scarce), files) {
		return full
	}
	r.vain++
	return nil
}

// missing returns how many of the bytes to be staged will find no space, as far as is known.
func (r *Room) missing(free int64) int64 {
	all, unlock := r.lock()
	defer unlock()
	return max(r.length-r.staged-max(free-(all.bytes-r.held), 0), 0)
}

func (r *Room) ask() error {
	if r.need.Ask == nil {
		return nil
	}
	return r.need.Ask()
}

// mayDropLast reports whether versions of the last hour may be dropped for this room. With claim, no other room may drop
// them until this room is released. A slow upload does not keep the last hour for itself.
func (r *Room) mayDropLast(claim bool) bool {
	all, unlock := r.lock()
	defer unlock()
	may := all.last == nil || all.last == r || all.last.isSlow(r.rooms.now())
	if may && claim {
		all.last = r
	}
	return may
}

// claimed describes the staged version to the history.
func (r *Room) claimed() history.Claim {
	return history.Claim{Name: r.need.Name, Keep: r.need.Keep.ID(), Known: r.known}
}
