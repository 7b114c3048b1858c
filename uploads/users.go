package uploads

import (
	"context"
	"errors"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// users are the requests that work on uploads, one for each. A request that comes interrupts the one before: mostly its
// line is broken, and the server has not noticed yet. So a connection that hangs keeps no other client away.
type users struct {
	mu   sync.Mutex
	byID map[string]*user
}

type user struct {
	Caller
	left chan struct{} // closed when the request has left the upload
	// of is the owner of the upload, if the request is known to be allowed to use it. Under the mutex of the users.
	of *string
}

// tryEnter enters a request, or interrupts the one that is there, and returns it. That one cannot have ended by then,
// because it leaves under mu. If it uses the upload of another owner, the error is [tree.ErrNotExist]: the caller must
// not learn that there is one.
func (u *users) tryEnter(id string, c Caller) (me, other *user, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if other := u.byID[id]; other != nil {
		switch {
		case other.of == nil: // it is about to be, or to be refused
		case !c.Owns(*other.of):
			return nil, nil, tree.ErrNotExist
		default:
			other.Interrupt()
		}
		return nil, other, nil
	}
	if u.byID == nil {
		u.byID = map[string]*user{}
	}
	me = &user{Caller: c, left: make(chan struct{})}
	u.byID[id] = me
	return me, nil, nil
}

// uses notes that the request may use the upload, which is of that owner.
func (u *users) uses(me *user, owner string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	me.of = &owner
}

func (u *users) leave(id string, me *user) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byID, id)
	close(me.left)
}

// retryPause is between two tries to open an upload that the store itself, or another process, has open.
const retryPause = 20 * time.Millisecond

// enter opens an upload of the caller, and interrupts the request that has it. The end of the context ends the wait.
func (s *Server) enter(ctx context.Context, id string, c Caller) (up tree.Upload, leave func(), err error) {
	var me *user
	for {
		var other *user
		if me, other, err = s.users.tryEnter(id, c); err != nil {
			return nil, nil, err
		}
		if other == nil {
			break
		}
		select {
		case <-other.left:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	defer func() {
		if err != nil {
			s.users.leave(id, me)
		}
	}()
	for {
		up, err = s.Store.OpenUpload(ctx, id)
		if !errors.Is(err, tree.ErrBusy) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, nil, err
		case <-time.After(retryPause):
		}
	}
	if err != nil {
		return nil, nil, err
	}
	owner := string(noteOf(up.State()).Owner)
	if !c.Owns(owner) {
		err = errors.Join(tree.ErrNotExist, up.Close())
		return nil, nil, err
	}
	s.users.uses(me, owner)
	return up, func() { _ = up.Close(); s.users.leave(id, me) }, nil
}
