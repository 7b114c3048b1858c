package pgstore_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A steppedReader yields a content in two halves, and calls step between them.
type steppedReader struct {
	halves []string
	step   func()
}

func (r *steppedReader) Read(p []byte) (int, error) {
	if len(r.halves) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.halves[0])
	if r.halves[0] = r.halves[0][n:]; r.halves[0] == "" {
		r.halves = r.halves[1:]
		if len(r.halves) == 1 {
			r.step()
		}
	}
	return n, nil
}

// TestGarbageBesideUploads: however long an upload takes, it ends with its content or is refused, and the objects of
// names stay. The clock is passed in.
func TestGarbageBesideUploads(t *testing.T) {
	ctx := t.Context()
	dsn := pgtest.Shared(t).Database(t, clean)
	dir, err := blobs.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var passed atomic.Int64
	begun := time.Now()
	s, err := pgstore.Open(ctx, dsn, pgstore.Options{
		Blobs: dir, Inline: -1, History: time.Hour, Report: func(err error) { t.Log(err) },
		Now: func() time.Time { return begun.Add(time.Duration(passed.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	// later is the janitor of another replica, each half an hour.
	later := func(d time.Duration, each time.Duration) {
		for range d / each {
			passed.Add(int64(each))
			if err := s.Clean(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
	half := strings.Repeat("x", 64<<10)
	want := map[string]string{}
	for _, test := range []struct {
		name        string
		wait, steps time.Duration // between the halves, and how long the client is silent at once
		given       error         // up, if it is silent for too long
	}{
		{"in an hour", time.Hour, 30 * time.Minute, nil},
		{"in 23 hours", 23 * time.Hour, 30 * time.Minute, nil},
		{"in 25 hours of silence", 25 * time.Hour, 30 * time.Minute, tree.ErrBusy},
		{"in 49 hours, in which no janitor has run", 49 * time.Hour, 49 * time.Hour, tree.ErrBusy},
	} {
		content := test.name + half
		body := &steppedReader{[]string{content, half}, func() { later(test.wait, test.steps) }}
		_, _, err := s.Put(ctx, test.name, body, tree.PutOptions{Length: -1}, tree.Condition{})
		if !errors.Is(err, test.given) {
			t.Errorf("a PUT %s: %v, want %v", test.name, err, test.given)
		}
		if err == nil {
			want[test.name] = content + half
		}
	}
	// A body that comes slowly, and never stops, may take days.
	parts := 100
	var slow []io.Reader
	for range parts {
		slow = append(slow, &steppedReader{[]string{half[:1000], half[:1000]}, func() { later(time.Hour, time.Hour) }})
		want["slow"] += half[:2000]
	}
	if _, _, err := s.Put(ctx, "slow", io.MultiReader(slow...), tree.PutOptions{Length: -1}, tree.Condition{}); err != nil {
		t.Errorf("a PUT in %d hours: %v", parts, err)
	}
	// A content that loses one of its names while another one keeps it.
	if _, _, err := s.Copy(ctx, "slow", "copy", tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, "copy", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	later(60*time.Hour, 20*time.Minute)
	for name, content := range want {
		c, _, err := s.Open(ctx, name, tree.ReadOptions{}, tree.Condition{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(io.NewSectionReader(c, 0, int64(len(content))+1))
		if err != nil || string(got) != content {
			t.Errorf("%s has %d bytes, want %d (%v)", name, len(got), len(content), err)
		}
		c.Close()
	}
	// What loses its last name is kept for a day from then on, however long it has been known as possible garbage.
	objects := func() (n int) {
		for _, err := range dir.List(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	there := objects()
	if err := s.Remove(ctx, "slow", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if later(24*time.Hour, time.Hour); objects() != there {
		t.Errorf("within a day there are %d objects, want %d", objects(), there)
	}
	if later(4*time.Hour, time.Hour); objects() != there-1 {
		t.Errorf("a day and an hour later there are %d objects, want %d", objects(), there-1)
	}
}
