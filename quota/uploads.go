package quota

import (
	"context"
	"io"

	"ifmatch/tree"
)

// NewUpload implements [tree.Uploads]. An upload that has no room is refused before its first byte. Between its parts
// it holds no room, because it may never end: each part asks again, and the commit decides.
func (s *Store) NewUpload(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	end, err := s.hold(ctx, name, opts.Length, cond)
	if err != nil {
		return nil, err
	}
	defer end()
	u, err := s.Inner.NewUpload(ctx, name, opts, cond)
	if err != nil {
		return nil, err
	}
	return &upload{u, s}, nil
}

// OpenUpload implements [tree.Uploads].
func (s *Store) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	u, err := s.Inner.OpenUpload(ctx, id)
	if err != nil {
		return nil, err
	}
	return &upload{u, s}, nil
}

// hold reserves what the file at a name is to grow by, until end is called.
func (s *Store) hold(ctx context.Context, name string, length int64, cond tree.Condition) (end func(), err error) {
	c := s.counter()
	if c == nil {
		return func() {}, nil
	}
	o := &operation{kind: put, name: name}
	if err := c.beforeBody(ctx, &countedBody{c: c, o: o}, length, cond); err != nil {
		return nil, err
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		o.held.drop()
	}, nil
}

// An upload is an upload to a tree with limits.
type upload struct {
	tree.Upload
	s *Store
}

// Append implements [tree.Upload]. It holds the room for the whole file while the part comes.
func (u *upload) Append(ctx context.Context, body io.Reader, opts tree.AppendOptions) error {
	state := u.State()
	end, err := u.s.hold(ctx, state.Name, state.Length, opts.Cond)
	if err != nil {
		return err
	}
	defer end()
	return u.Upload.Append(ctx, body, opts)
}

// Put implements [tree.Upload].
func (u *upload) Put(
	ctx context.Context, name string, opts tree.PutOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	c := u.s.counter()
	if c == nil {
		return u.Upload.Put(ctx, name, opts, cond)
	}
	o := &operation{kind: put, name: name, bytes: u.State().Length}
	if err := c.beforeBody(ctx, &countedBody{c: c, o: o}, o.bytes, cond); err != nil {
		return tree.State{}, false, err
	}
	defer func() { c.settle(o, err, state) }()
	if respelled := opts.Respelled; respelled != nil {
		opts.Respelled = func(name string) (tree.Condition, error) {
			cond, err := respelled(name)
			if err == nil {
				c.rename(o, name)
			}
			return c.deciding(o, cond, always), err
		}
	}
	return u.Upload.Put(ctx, name, opts, c.deciding(o, cond, always))
}
