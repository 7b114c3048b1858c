package uploads

import (
	"context"
	"errors"
	"sync"
	"time"

	"ifmatch/tree"
)

// users are the requests that work on uploads, one for each. A request that comes interrupts the one before: mostly its
// line is broken, and the server has not noticed yet. So a connection that hangs keeps nobody away.
type users struct {
	mu   sync.Mutex
	byID map[string]*user
}

type user struct {
	Caller
	left chan struct{} // closed when the request has left the upload
}

// tryEnter enters a request, or interrupts the one that is there, if it is of the same owner, and returns it. That one
// cannot have ended by then, because it leaves under mu.
func (u *users) tryEnter(id string, c Caller) (leave func(), other *user) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if other := u.byID[id]; other != nil {
		if c.Owns(other.Owner()) { // else the other one is about to be refused, or this one is
			other.Interrupt()
		}
		return func() {}, other
	}
	if u.byID == nil {
		u.byID = map[string]*user{}
	}
	me := &user{c, make(chan struct{})}
	u.byID[id] = me
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.byID, id)
		close(me.left)
	}, nil
}

// retryPause is between two tries to open an upload that the store itself, or another process, has open.
const retryPause = 20 * time.Millisecond

// enter opens an upload of the caller, and interrupts the request that has it. The end of the context ends the wait.
func (s *Server) enter(ctx context.Context, id string, c Caller) (up tree.Upload, leave func(), err error) {
	var out func()
	for {
		var other *user
		if out, other = s.users.tryEnter(id, c); other == nil {
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
			out()
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
	if !c.Owns(string(noteOf(up.State()).Owner)) {
		err = errors.Join(tree.ErrNotExist, up.Close())
		return nil, nil, err
	}
	return up, func() { _ = up.Close(); out() }, nil
}
