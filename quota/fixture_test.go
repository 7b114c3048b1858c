package quota_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/quota"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// A memory is a store in memory as an [quota.Inner].
type memory struct{ *memtree.Store }

func (memory) Spelled(_ context.Context, name string) (string, error) { return name, nil }
func (memory) Quota(context.Context, string) (used, available int64, err error) {
	return 0, 0, errors.ErrUnsupported
}
func (memory) Start()       {}
func (memory) Close() error { return nil }

// A directory is a directory as an [quota.Inner].
type directory struct{ *etagfs.Store }

func (directory) Start() {}

func openDirectory(t *testing.T, dir string) directory {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, History: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := etagfs.New(below, etagfs.Options{Journal: true, Report: func(err error) { t.Errorf("reported: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return directory{s}
}

// start starts a store with limits over another one.
func start(t *testing.T, inner quota.Inner, opts quota.Options, all ...limits.Limit) *quota.Store {
	t.Helper()
	if opts.Patience == 0 {
		opts.Patience = time.Minute // a loaded machine takes its time
	}
	s := quota.New(inner, limits.NewSet(all, strings.EqualFold), opts)
	s.Start()
	t.Cleanup(func() { s.Close() })
	return s
}

// A user drives a store.
type user struct {
	t *testing.T
	tree.Store
}

func (u user) put(name string, bytes int, more ...tree.Check) error {
	return u.putBody(name, content(bytes), int64(bytes), more...)
}

// content returns random bytes, so that no two files are the same.
func content(bytes int) io.Reader {
	data := make([]byte, bytes)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	return strings.NewReader(string(data))
}

func (u user) putBody(name string, body io.Reader, length int64, more ...tree.Check) error {
	u.t.Helper()
	cond := tree.Condition{}
	if len(more) > 0 {
		cond.Check = more[0]
	}
	_, _, err := u.Put(u.t.Context(), name, body, tree.PutOptions{Length: length}, cond)
	return err
}

func (u user) mkdir(names ...string) {
	u.t.Helper()
	for _, name := range names {
		if _, err := u.Mkdir(u.t.Context(), name, tree.MkdirOptions{}, tree.Condition{}); err != nil {
			u.t.Fatal(err)
		}
	}
}

func (u user) remove(name string) error { return u.Remove(u.t.Context(), name, tree.Condition{}) }

func (u user) move(from, to string) error {
	_, _, err := u.Move(u.t.Context(), from, to, tree.CopyOptions{}, tree.Condition{})
	return err
}

func (u user) copy(from, to string) error {
	_, _, err := u.Copy(u.t.Context(), from, to, tree.CopyOptions{}, tree.Condition{})
	return err
}

func (u user) must(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

// full fails unless an error is that of a limit.
func (u user) full(err error) {
	u.t.Helper()
	if storage := new(tree.StorageError); !errors.Is(err, tree.ErrNoSpace) || !errors.As(err, &storage) {
		u.t.Fatalf("got %v, want the refusal of a quota", err)
	}
}

// walked returns the bytes of all files below a name.
func walked(t *testing.T, s tree.Store, name string) (sum int64) {
	t.Helper()
	for state, err := range s.List(t.Context(), name, tree.ListOptions{Depth: -1}, tree.Condition{}) {
		if errors.Is(err, tree.ErrNotExist) {
			return 0
		}
		if err != nil {
			t.Fatal(err)
		}
		if !state.Link && !state.Collection && state.Name != name {
			sum += state.Size
		}
	}
	return sum
}

// used returns the bytes that count for the innermost limit of a name.
func used(t *testing.T, s *quota.Store, name string) int64 {
	t.Helper()
	all := s.Allowances(name)
	if len(all) == 0 {
		t.Fatalf("%q has no allowance", name)
	}
	return all[0].Used
}

// await waits until the sum of a name is some number of bytes.
func await(t *testing.T, s *quota.Store, name string, want int64) {
	t.Helper()
	var got int64
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if all := s.Allowances(name); len(all) > 0 {
			if got = all[0].Used; got == want {
				return
			}
		}
	}
	t.Fatalf("%q: %d bytes count, want %d\n%s", name, got, want, s.Dump())
}

// broken is a body that ends with an error.
func broken(bytes int) io.Reader {
	return io.MultiReader(strings.NewReader(strings.Repeat("x", bytes)), iotest.ErrReader(errors.New("cut off")))
}

func (memory) NewUpload(context.Context, string, tree.UploadOptions, tree.Condition) (tree.Upload, error) {
	return nil, errors.ErrUnsupported
}

func (memory) OpenUpload(context.Context, string) (tree.Upload, error) {
	return nil, errors.ErrUnsupported
}

func (memory) RestoreAt(context.Context, string, time.Time, tree.RestoreAtOptions) (tree.Restored, error) {
	return tree.Restored{}, errors.ErrUnsupported
}
