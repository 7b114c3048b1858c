package shares

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An upload belongs to the share of its name. Its ID here begins with a mark of that share.

// mark returns the mark of a share, which is the same after a restart.
func (sh *share) mark() string {
	sum := sha256.Sum256([]byte(sh.Path))
	return hex.EncodeToString(sum[:6])
}

// NewUpload implements [tree.Uploads].
func (s *Store) NewUpload(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	p, err := s.inside(name, tree.ErrIsCollection)
	if err != nil {
		return nil, err
	}
	uploads, ok := p.share.Store.(tree.Uploads)
	if !ok {
		return nil, tree.ErrUnsupported
	}
	m := s.memo(cond)
	if err := m.beforeBody(ctx, p.share); err != nil {
		return nil, err
	}
	u, err := uploads.NewUpload(ctx, p.inner, opts, m.condition(p.share, nil))
	if err != nil {
		return nil, p.share.told(asBusy(err))
	}
	return &upload{Upload: u, s: s, share: p.share}, nil
}

// OpenUpload implements [tree.Uploads].
func (s *Store) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	mark, inner, _ := strings.Cut(id, "-")
	for _, sh := range s.shares {
		uploads, ok := sh.Store.(tree.Uploads)
		if !ok || sh.mark() != mark {
			continue
		}
		u, err := uploads.OpenUpload(ctx, inner)
		if err != nil {
			return nil, sh.told(err)
		}
		return &upload{Upload: u, s: s, share: sh}, nil
	}
	return nil, tree.ErrNotExist
}

// An upload is an upload of a share.
type upload struct {
	tree.Upload
	s     *Store
	share *share
}

// State implements [tree.Upload].
func (u *upload) State() tree.UploadState {
	state := u.Upload.State()
	state.ID, state.Name = u.share.mark()+"-"+state.ID, u.share.outer(state.Name)
	return state
}

// Append implements [tree.Upload].
func (u *upload) Append(ctx context.Context, body io.Reader, opts tree.AppendOptions) error {
	m := u.s.memo(opts.Cond)
	if err := m.beforeBody(ctx, u.share); err != nil {
		return err
	}
	opts.Cond = m.condition(u.share, nil)
	return u.share.told(asBusy(u.Upload.Append(ctx, body, opts)))
}

// Put implements [tree.Upload], as [Store.Put] does.
func (u *upload) Put(
	ctx context.Context, name string, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	p, err := u.s.creatable(name, tree.ErrIsCollection)
	if err == nil && p.share != u.share {
		err = tree.ErrBusy
	}
	if err != nil {
		return tree.State{}, false, err
	}
	m := u.s.memo(cond)
	if err := m.beforeBody(ctx, u.share); err != nil {
		return tree.State{}, false, err
	}
	state, created, err := u.Upload.Put(ctx, p.inner, m.afterBody(ctx, opts), m.condition(u.share, nil))
	return u.share.state(state), created, u.share.told(asBusy(err))
}
