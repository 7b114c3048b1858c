package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An asked is a request for an archive of so many empty collections.
type asked struct {
	Asking
	members int
	name    string // of a member, before its number
	came    int    // how many more there are when the archive has begun
	listed  func() // called when it is about to end
	begun   bool
	cut     error
}

func (a *asked) Context() context.Context { return context.Background() }
func (a *asked) Request() *http.Request   { return &http.Request{URL: &url.URL{}} }
func (a *asked) Name() string             { return "" }
func (a *asked) MayRead(*tree.State) bool { return true }
func (a *asked) Cut(err error)            { a.cut = err }
func (a *asked) Begin(string) io.Writer   { a.begun = true; return io.Discard }

func (a *asked) Members(int) Members {
	n := a.members
	if a.begun {
		n += a.came
	}
	return func(yield func(tree.State, error) bool) {
		for i := range n {
			if !yield(tree.State{Name: fmt.Sprintf("%s%05d", a.name, i), Collection: true, Exists: true}, nil) {
				return
			}
		}
		if a.begun && a.listed != nil {
			a.listed()
		}
	}
}

// TestArchiveOfTooMuch is refused before it begins, and cut where members come meanwhile.
func TestArchiveOfTooMuch(t *testing.T) {
	const most = maxDirectory / (heldOfMember + len("files/") + 1000 + 5)
	a := &asked{members: most + 1, name: strings.Repeat("n", 1000)}
	if err := archive(a); !errors.As(err, new(*BadQueryError)) || a.begun {
		t.Errorf("error %v, begun: %v", err, a.begun)
	}
	a.members = most
	if err := archive(a); err != nil || a.cut != nil {
		t.Errorf("as many as there may be: %v, %v", err, a.cut)
	}
	a.came, a.begun = 1, false
	if err := archive(a); err != errLargeDirectory || a.cut != errLargeDirectory {
		t.Errorf("one came meanwhile: %v, %v", err, a.cut)
	}
}

// TestMemoryOfAnArchive: archive/zip holds no more of a member than is counted.
func TestMemoryOfAnArchive(t *testing.T) {
	const members = 10_000
	a := &asked{members: members, name: "n"}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	a.listed = func() { runtime.GC(); runtime.ReadMemStats(&after) }
	if err := archive(a); err != nil {
		t.Fatal(err)
	}
	if held := (int(after.HeapAlloc) - int(before.HeapAlloc)) / members; held > heldOfMember+len("files/n12345/") {
		t.Errorf("%d bytes are held for each member", held)
	}
}
