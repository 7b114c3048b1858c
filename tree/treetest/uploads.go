package treetest

import (
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// testUploads is the contract of [tree.Uploads]. A store that is none keeps it, for it promises nothing.
func testUploads(t *testing.T, b Backend) {
	if s, _ := b.Open(t, time.Now); !isUploads(s) {
		return
	}
	t.Run("Parts", func(t *testing.T) { testUploadParts(t, b) })
	t.Run("Refused", func(t *testing.T) { testUploadRefused(t, b) })
	t.Run("Condition", func(t *testing.T) { testUploadCondition(t, b) })
	t.Run("End", func(t *testing.T) { testUploadEnd(t, b) })
	t.Run("Reopen", func(t *testing.T) { testUploadReopen(t, b) })
}

func isUploads(s tree.Store) bool {
	_, ok := s.(tree.Uploads)
	return ok
}

func (f *fixture) upload(name, content string) tree.Upload {
	f.t.Helper()
	u, err := f.Store.(tree.Uploads).NewUpload(f.ctx, name, tree.UploadOptions{
		Length: int64(len(content)), Note: []byte("note"), Expires: f.clock.Now().Add(time.Hour),
	}, tree.Condition{})
	if err != nil {
		f.t.Fatalf("NewUpload(%q): %v", name, err)
	}
	return u
}

func (f *fixture) openUpload(id string) tree.Upload {
	f.t.Helper()
	u, err := f.Store.(tree.Uploads).OpenUpload(f.ctx, id)
	if err != nil {
		f.t.Fatalf("OpenUpload: %v", err)
	}
	return u
}

func (f *fixture) appendPart(u tree.Upload, part string) {
	f.t.Helper()
	if err := u.Append(f.ctx, strings.NewReader(part), tree.AppendOptions{}); err != nil {
		f.t.Fatalf("Append(%q): %v", part, err)
	}
}

func (f *fixture) wantOffset(u tree.Upload, want int64) {
	f.t.Helper()
	if s := u.State(); s.Offset != want {
		f.t.Fatalf("the offset is %d, want %d", s.Offset, want)
	}
}

func (f *fixture) closeUpload(u tree.Upload) {
	f.t.Helper()
	if err := u.Close(); err != nil {
		f.t.Fatalf("Close: %v", err)
	}
}

func (f *fixture) wantContent(name, want string) {
	f.t.Helper()
	c, s, err := f.Open(f.ctx, name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
	if err != nil {
		f.t.Fatalf("Open(%q): %v", name, err)
	}
	defer c.Close()
	got, err := io.ReadAll(io.NewSectionReader(c, 0, s.Size+1))
	if err != nil || string(got) != want || s.Tag != tree.TagOf(sha256.Sum256([]byte(want))) {
		f.t.Errorf("%q has %q with the tag %s (%v), want %q", name, got, s.Tag, err, want)
	}
}

func testUploadParts(t *testing.T, b Backend) {
	f := open(t, b, "d/", "d/f=old")
	u := f.upload("d/f", "hello world")
	id := u.State().ID
	if s := u.State(); s.Name != "d/f" || s.Length != 11 || s.Offset != 0 || string(s.Note) != "note" || s.Tag != "" {
		t.Errorf("a new upload is %+v", s)
	}
	f.appendPart(u, "hello")
	if _, err := f.Store.(tree.Uploads).OpenUpload(f.ctx, id); !errors.Is(err, tree.ErrBusy) {
		t.Errorf("an open upload can be opened: %v", err)
	}
	if _, _, err := u.Put(f.ctx, "d/f", tree.PutOptions{}, tree.Condition{}); err == nil {
		t.Error("an upload that is not whole can be put")
	}
	f.wantContent("d/f", "old")
	f.closeUpload(u)

	u = f.openUpload(id)
	f.wantOffset(u, 5)
	f.appendPart(u, " world")
	f.wantOffset(u, 11)
	modified := time.Unix(1_500_000_000, 0)
	s, created, err := u.Put(f.ctx, "d/f", tree.PutOptions{Modified: modified}, tree.Condition{})
	if err != nil || created || s.Size != 11 || s.Name != "d/f" || !s.Modified.Equal(modified) {
		t.Errorf("Put: %+v, %v, %v", s, created, err)
	}
	f.closeUpload(u)
	f.wantContent("d/f", "hello world")

	u = f.openUpload(id)
	defer u.Close()
	if now := u.State(); now.Tag != s.Tag || now.Offset != 11 {
		t.Errorf("after the Put the upload is %+v", now)
	}
	if err := u.Append(f.ctx, strings.NewReader(""), tree.AppendOptions{}); err == nil {
		t.Error("a part can be added after the Put")
	}
	if err := u.Remove(f.ctx); err != nil {
		t.Errorf("Remove after the Put: %v", err)
	}
	f.wantContent("d/f", "hello world")
}

func testUploadRefused(t *testing.T, b Backend) {
	f := open(t, b, "d/")
	u := f.upload("f", "hello")
	defer u.Close()
	body := new(tree.BodyError)
	err := u.Append(f.ctx, io.MultiReader(strings.NewReader("he"), iotest.ErrReader(errors.New("broken"))), tree.AppendOptions{})
	if !errors.As(err, &body) {
		t.Errorf("a body that breaks off: %v", err)
	}
	f.wantOffset(u, 2)
	if err := u.Append(f.ctx, strings.NewReader("llo and more"), tree.AppendOptions{}); !errors.As(err, &body) {
		t.Errorf("a body that is too long: %v", err)
	}
	f.wantOffset(u, 2)
	wrong := errors.New("another checksum")
	err = u.Append(f.ctx, strings.NewReader("XX"), tree.AppendOptions{Verify: func() error { return wrong }})
	if !errors.Is(err, wrong) {
		t.Errorf("a part that is not verified: %v", err)
	}
	f.wantOffset(u, 2)
	f.appendPart(u, "llo")
	_, _, err = u.Put(f.ctx, "d/f", tree.PutOptions{}, tree.Condition{})
	if err == nil {
		t.Error("an upload can be put into another collection")
	}
	_, _, err = u.Put(f.ctx, "f", tree.PutOptions{Verify: func(sums tree.Sums) error {
		if sums.Tag() != tree.TagOf(sha256.Sum256([]byte("hello"))) {
			t.Errorf("the sums are %v", sums)
		}
		return wrong
	}}, tree.Condition{})
	if !errors.Is(err, wrong) {
		t.Errorf("a body that is not verified: %v", err)
	}
	if _, created, err := u.Put(f.ctx, "f", tree.PutOptions{}, tree.Condition{}); err != nil || !created {
		t.Errorf("Put: %v, %v", created, err)
	}
	f.wantContent("f", "hello")
	if _, err := f.Store.(tree.Uploads).NewUpload(f.ctx, "", tree.UploadOptions{}, tree.Condition{}); err == nil {
		t.Error("an upload for the root")
	}
}

func testUploadCondition(t *testing.T, b Backend) {
	f := open(t, b)
	old := f.put("f", "old")
	u := f.upload("f", "new")
	defer u.Close()
	f.appendPart(u, "new")
	now := f.put("f", "other")
	expects := func(tag tree.ETag) tree.Condition {
		return tree.Condition{Exact: true, Check: func(v tree.View) error {
			s, err := v.State("f")
			if err == nil && s.Tag == "" {
				err = tree.ErrTagUnknown
			}
			if err == nil && s.Tag != tag {
				err = errStale
			}
			return err
		}}
	}
	for range 2 {
		if _, _, err := u.Put(f.ctx, "f", tree.PutOptions{}, expects(old.Tag)); !errors.Is(err, errStale) {
			t.Errorf("Put under a condition that is not true: %v", err)
		}
		f.wantContent("f", "other")
		f.wantOffset(u, 3)
	}
	if _, created, err := u.Put(f.ctx, "f", tree.PutOptions{}, expects(now.Tag)); err != nil || created {
		t.Errorf("Put under another condition: %v, %v", created, err)
	}
	f.wantContent("f", "new")

	// The name has the bytes already.
	same := f.upload("f", "new")
	defer same.Close()
	f.appendPart(same, "new")
	if s, created, err := same.Put(f.ctx, "f", tree.PutOptions{}, tree.Condition{}); err != nil || created ||
		same.State().Tag != s.Tag {
		t.Errorf("Put of the same bytes: %+v, %v, %v", s, created, err)
	}
}

func testUploadEnd(t *testing.T, b Backend) {
	f := open(t, b)
	gone := func(id, why string) {
		t.Helper()
		if _, err := f.Store.(tree.Uploads).OpenUpload(f.ctx, id); !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("%s: %v", why, err)
		}
	}
	gone("", "no ID")
	gone("../x", "an ID that is a path")
	gone("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "an ID that was never given")
	u := f.upload("f", "hello")
	f.appendPart(u, "he")
	if err := u.Remove(f.ctx); err != nil {
		t.Errorf("Remove: %v", err)
	}
	f.closeUpload(u)
	gone(u.State().ID, "a removed upload")

	late := f.upload("f", "hello")
	f.clock.Advance(30 * time.Minute)
	if err := late.Append(f.ctx, strings.NewReader("he"), tree.AppendOptions{
		Expires: func() time.Time { return f.clock.Now().Add(time.Hour) },
	}); err != nil {
		t.Errorf("Append: %v", err)
	}
	f.closeUpload(late)
	f.clock.Advance(59 * time.Minute)
	f.closeUpload(f.openUpload(late.State().ID))
	f.clock.Advance(time.Minute)
	gone(late.State().ID, "an expired upload")
}

func testUploadReopen(t *testing.T, b Backend) {
	if b.Forgets != "" {
		t.Logf("uploads are forgotten: %s", b.Forgets)
		return
	}
	f := open(t, b)
	u := f.upload("f", "hello")
	id := u.State().ID
	f.appendPart(u, "hel")
	f.closeUpload(u)
	f.Store = f.reopen()
	u = f.openUpload(id)
	f.wantOffset(u, 3)
	f.appendPart(u, "lo")
	f.closeUpload(u)
	f.Store = f.reopen()
	u = f.openUpload(id)
	if _, created, err := u.Put(f.ctx, "f", tree.PutOptions{}, tree.Condition{}); err != nil || !created {
		t.Errorf("Put: %v, %v", created, err)
	}
	f.closeUpload(u)
	f.wantContent("f", "hello")
	f.Store = f.reopen()
	u = f.openUpload(id)
	if u.State().Tag == "" {
		t.Error("the Put is forgotten")
	}
	f.closeUpload(u)
}
