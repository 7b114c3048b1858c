package monitor

import (
	"context"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func (m *measuredStore) NewUpload(
	ctx context.Context, name string, opts tree.UploadOptions, cond tree.Condition,
) (tree.Upload, error) {
	u, err := m.Store.NewUpload(ctx, name, opts, cond)
	if err != nil {
		return nil, err
	}
	return &measuredUpload{u, m}, nil
}

func (m *measuredStore) OpenUpload(ctx context.Context, id string) (tree.Upload, error) {
	u, err := m.Store.OpenUpload(ctx, id)
	if err != nil {
		return nil, err
	}
	return &measuredUpload{u, m}, nil
}

// A measuredUpload is an upload whose commit is timed, as that of a PUT.
type measuredUpload struct {
	tree.Upload
	m *measuredStore
}

func (u *measuredUpload) Put(
	ctx context.Context, name string, opts tree.PutOptions, cond tree.Condition,
) (s tree.State, created bool, err error) {
	defer u.m.note("put", time.Now(), &err)
	return u.Upload.Put(ctx, name, opts, cond)
}
