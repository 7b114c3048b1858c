package quota

import (
	"context"
	"io"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An upload that arrives in parts reserves room for all of its body when it begins, and keeps the room between its
// requests. The reservation is in memory: after a restart, the next part reserves again. The Put counts as one of a
// whole body does, and needs no other room.

// reservations are those of the uploads that have not ended, by ID. Their number is bounded by that of the uploads.
type reservations struct {
	mu   sync.Mutex
	byID map[string]*reserved
}

// A reserved upload holds room until its Put, its end, or its expiry.
type reserved struct {
	tree.Reservation
	on     *counter // whose reservation it is
	expiry *time.Timer
}

// has reports whether an upload holds room in the ledger of a counter.
func (all *reservations) has(id string, c *counter) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	one := all.byID[id]
	return one != nil && one.on == c
}

// get returns the reservation of an upload, or nil.
func (all *reservations) get(id string) tree.Reservation {
	all.mu.Lock()
	defer all.mu.Unlock()
	if one := all.byID[id]; one != nil {
		return one.Reservation
	}
	return nil
}

// put keeps the reservation of an upload for some time, in place of an earlier one.
func (all *reservations) put(id string, r tree.Reservation, on *counter, lasts time.Duration) {
	all.drop(id)
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.byID == nil {
		all.byID = map[string]*reserved{}
	}
	one := &reserved{Reservation: r, on: on}
	one.expiry = time.AfterFunc(max(lasts, 0), func() { all.dropOne(id, one) })
	all.byID[id] = one
}

// extend sets for how much longer an upload lasts.
func (all *reservations) extend(id string, lasts time.Duration) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if one := all.byID[id]; one != nil {
		one.expiry.Reset(max(lasts, 0))
	}
}

// drop ends the reservation of an upload.
func (all *reservations) drop(id string) {
	all.mu.Lock()
	one := all.byID[id]
	all.mu.Unlock()
	if one != nil {
		all.dropOne(id, one)
	}
}

func (all *reservations) dropOne(id string, one *reserved) {
	all.mu.Lock()
	if all.byID[id] == one {
		delete(all.byID, id)
	}
	all.mu.Unlock()
	one.expiry.Stop()
	one.End()
}

// end ends all reservations.
func (all *reservations) end() {
	all.mu.Lock()
	every := all.byID
	all.byID = nil
	all.mu.Unlock()
	for _, one := range every {
		one.expiry.Stop()
		one.End()
	}
}

// NewUpload implements [tree.Uploads]. It reserves the bytes by which the name will grow.
func (s *Store) NewUpload(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	c := s.counter()
	if c == nil {
		return s.wrap(s.Inner.NewUpload(ctx, name, opts, cond))
	}
	r, err := c.reserveGrowth(ctx, name, opts.Length, cond.Follow)
	if err != nil {
		return nil, err
	}
	u, err := s.Inner.NewUpload(ctx, name, opts, cond)
	if err != nil {
		r.End()
		return nil, err
	}
	s.uploads.put(u.State().ID, r, c, opts.Expires.Sub(s.opts.Now()))
	return &upload{u, s}, nil
}

// OpenUpload implements [tree.Uploads].
func (s *Store) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	return s.wrap(s.Inner.OpenUpload(ctx, id))
}

func (s *Store) wrap(u tree.Upload, err error) (tree.Upload, error) {
	if err != nil {
		return nil, err
	}
	return &upload{u, s}, nil
}

// reserveGrowth reserves the bytes by which a name grows when its file gets a length.
func (c *counter) reserveGrowth(
	ctx context.Context, name string, length int64, follow tree.Follow,
) (*reservation, error) {
	o := &operation{kind: put, name: name}
	if err := c.beforeBody(ctx, &countedBody{c: c, o: o}, length, tree.Condition{Follow: follow}); err != nil {
		return nil, err
	}
	return &reservation{c: c, held: o.held}, nil
}

// An upload is an upload whose Put is counted.
type upload struct {
	tree.Upload
	s *Store
}

// reserve makes sure that the upload holds room: it has none after a restart, after a Put that has failed, and if there
// were no limits when it began.
func (u *upload) reserve(ctx context.Context, c *counter, follow tree.Follow) error {
	state := u.State()
	if u.s.uploads.has(state.ID, c) {
		return nil
	}
	r, err := c.reserveGrowth(ctx, state.Name, state.Length, follow)
	if err == nil {
		u.s.uploads.put(state.ID, r, c, state.Expires.Sub(u.s.opts.Now()))
	}
	return err
}

// Append implements [tree.Upload].
func (u *upload) Append(ctx context.Context, body io.Reader, opts tree.AppendOptions) error {
	if c := u.s.counter(); c != nil {
		if err := u.reserve(ctx, c, opts.Cond.Follow); err != nil {
			return err
		}
	}
	err := u.Upload.Append(ctx, body, opts)
	state := u.State()
	u.s.uploads.extend(state.ID, state.Expires.Sub(u.s.opts.Now()))
	return err
}

// Put implements [tree.Upload].
func (u *upload) Put(
	ctx context.Context, name string, opts tree.PutOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	c := u.s.counter()
	if c == nil {
		return u.Upload.Put(ctx, name, opts, cond)
	}
	is := u.State()
	o := &operation{kind: put, name: name, bytes: is.Length}
	defer func() {
		c.settle(o, err, state)
		u.s.uploads.drop(is.ID) // the Put has used it
		if err != nil {
			_ = u.reserve(ctx, c, cond.Follow) // for another try, if there is room
		}
	}()
	ctx = tree.WithReservation(ctx, u.s.uploads.get(is.ID))
	if err := c.beforeBody(ctx, &countedBody{c: c, o: o}, is.Length, cond); err != nil {
		return tree.State{}, false, err
	}
	opts.Respelled = c.respelled(o, opts.Respelled, always)
	return u.Upload.Put(ctx, name, opts, c.deciding(o, cond, always))
}

// Remove implements [tree.Upload].
func (u *upload) Remove(ctx context.Context) error {
	err := u.Upload.Remove(ctx)
	if err == nil {
		u.s.uploads.drop(u.State().ID)
	}
	return err
}

// RestoreAt implements [tree.Undoer]. It is for those who administer the tree: no limit refuses it. Its files count, as
// those of other programs do.
func (s *Store) RestoreAt(
	ctx context.Context, name string, at time.Time, opts tree.RestoreAtOptions,
) (tree.Restored, error) {
	result, err := s.Inner.RestoreAt(ctx, name, at, opts)
	if c := s.counter(); c != nil && !opts.DryRun && result.Steps() > 0 {
		c.doubt(name)
	}
	return result, err
}
