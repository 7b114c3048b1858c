package web

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// behind is a file that begins with a hole.
type behind struct {
	hole int64
	*bytes.Reader
}

func (b behind) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(max(b.hole-off, 0), int64(len(p))))
	clear(p[:n])
	if n == len(p) {
		return n, nil
	}
	read, err := b.Reader.ReadAt(p[n:], off+int64(n)-b.hole)
	return n + read, err
}

// What is written is what archive/zip reads, also behind the first 4 GiB, and with more members than 16 bits count.
func TestZipWriterIsRead(t *testing.T) {
	for _, tt := range []struct {
		about string
		hole  int64
		many  int
	}{{"small", 0, 0}, {"behind 4 GiB", 5 << 30, 0}, {"many members", 0, 1 << 16}} {
		t.Run(tt.about, func(t *testing.T) {
			var archive bytes.Buffer
			z := newZipWriter(&archive)
			z.offset = tt.hole
			at := time.Date(2020, 2, 29, 12, 34, 56, 0, time.UTC)
			long := strings.Repeat("content ", 1<<14)
			for _, m := range []struct {
				zipMember
				content string
			}{
				{zipMember{name: "top/d/", modified: at, stored: true}, ""},
				{zipMember{name: "top/d/\u00e4", modified: at}, long},
				{zipMember{name: "top/\xff.png", modified: at, stored: true}, "picture"},
				{zipMember{name: "top/empty"}, ""},
			} {
				content := func(w io.Writer) error { _, err := io.WriteString(w, m.content); return err }
				if strings.HasSuffix(m.name, "/") {
					content = nil
				}
				if err := z.add(&m.zipMember, content); err != nil {
					t.Fatal(err)
				}
			}
			for i := range tt.many {
				z.add(&zipMember{name: fmt.Sprintf("top/%d/", i), modified: at, stored: true}, nil)
			}
			if err := z.close(); err != nil {
				t.Fatal(err)
			}
			r, err := zip.NewReader(behind{tt.hole, bytes.NewReader(archive.Bytes())}, tt.hole+int64(archive.Len()))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.File) != 4+tt.many || !r.File[0].Modified.Equal(at) || !r.File[0].FileInfo().IsDir() {
				t.Fatalf("%d members, the first of %v", len(r.File), r.File[0].Modified)
			}
			for i, want := range map[int]string{1: long, 2: "picture", 3: ""} {
				f, err := r.File[i].Open()
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(f); err != nil || string(got) != want {
					t.Errorf("%q is %.20q, %v", r.File[i].Name, got, err)
				}
			}
			if r.File[1].Name != "top/d/\u00e4" || r.File[1].NonUTF8 || !r.File[2].NonUTF8 {
				t.Errorf("the names are %q, %q", r.File[1].Name, r.File[2].Name)
			}
		})
	}
}

// An asked is a request for an archive of so many empty collections.
type asked struct {
	Asking
	members int
	name    string // of a member, before its number
	sent    io.Writer
	cut     error
}

func (a *asked) Context() context.Context { return context.Background() }
func (a *asked) Request() *http.Request   { return &http.Request{URL: &url.URL{}} }
func (a *asked) Name() string             { return "" }
func (a *asked) MayRead(*tree.State) bool { return true }
func (a *asked) Cut(err error)            { a.cut = err }
func (a *asked) Begin(string) io.Writer   { a.sent = io.Discard; return a.sent }

func (a *asked) Members(int) Members {
	return func(yield func(tree.State, error) bool) {
		for i := range a.members {
			if !yield(tree.State{Name: fmt.Sprintf("%s%d", a.name, i), Collection: true, Exists: true}, nil) {
				return
			}
		}
	}
}

func TestArchiveOfTooMuchIsRefusedBeforeItBegins(t *testing.T) {
	a := &asked{members: maxArchived + 1}
	if err := archive(a); !errors.As(err, new(*BadQueryError)) || a.sent != nil {
		t.Errorf("error %v, begun: %v", err, a.sent != nil)
	}
	a.members--
	if err := archive(a); err != nil || a.cut != nil {
		t.Errorf("one member less: %v, %v", err, a.cut)
	}
}

// The memory of an archive is bounded: a path that members share is kept once.
func TestDirectoryOfAnArchiveIsBounded(t *testing.T) {
	z := newZipWriter(io.Discard)
	long := strings.Repeat(strings.Repeat("n", 250)+"/", 15)
	for i := range maxArchived {
		if err := z.add(&zipMember{name: fmt.Sprintf("%s%d/", long, i), stored: true}, nil); err != nil {
			t.Fatalf("after %d members: %v", i, err)
		}
	}
	var c chunks
	for _, err := c.Write(make([]byte, 1000)); err == nil; _, err = c.Write(make([]byte, 1000)) {
	}
	if held := len(c.all) * chunkSize; held > maxDirectory {
		t.Errorf("%d bytes are held", held)
	}
}
