package handler

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/handler/autoindex"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

var pageLink = regexp.MustCompile(`<a href="([^"]*)">([^<]*)</a>`)

func linksOf(page string) (hrefs []string) {
	for _, found := range pageLink.FindAllStringSubmatch(page, -1) {
		hrefs = append(hrefs, found[1])
	}
	return hrefs
}

func TestPageHasCollectionsFirstAndNamesInOrder(t *testing.T) {
	h := inMemory(t, Config{}, "d/", "d/b=1", "d/a=22", "d/z/", "d/y/", `d/<q>&"'=`)
	w := ask(t, h, "GET", "/d/", "")
	want := []string{"/", "/d/y/", "/d/z/", "/d/%3Cq%3E%26%22%27", "/d/a", "/d/b"}
	if got := linksOf(w.Body.String()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q in\n%s", got, want, w.Body)
	}
	for _, want := range []string{"<title>/d</title>", `>&lt;q&gt;&amp;&#34;&#39;</a></td><td>0</td>`, ">a</a></td><td>2</td>"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
}

// pageReader is a client that counts the lines that it has got.
type pageReader struct {
	counter
	lines int
}

func (c *pageReader) Write(p []byte) (int, error) {
	c.lines += bytes.Count(p, []byte("\n"))
	return c.counter.Write(p)
}

// A page above the sorted size is sent while the collection is read. Memory does not grow with the number of members,
// and all members are listed.
func TestPageStreams(t *testing.T) {
	const members = 200_000
	c := &pageReader{counter: counter{header: http.Header{}}}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	store := largeStore{members: members, lag: func(told int) {
		if waiting := told - c.lines; waiting > autoindex.MaxSorted+1000 {
			t.Fatalf("%d members wait when member %d is asked for", waiting, told)
		}
		if told%50_000 == 49_999 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			if held := int64(now.HeapAlloc) - int64(before.HeapAlloc); held > 4<<20 {
				t.Errorf("%d bytes are held at member %d", held, told)
			}
		}
	}}
	r := depthOneRequest("/")
	r.Method = "GET"
	newTestHandler(t, Config{Store: pages{store}}).ServeHTTP(c, r)
	around := strings.Count(ask(t, inMemory(t, Config{}), "GET", "/", "").Body.String(), "\n") // of a page without members
	if c.status != http.StatusOK || c.lines != members+around {
		t.Errorf("got %d with %d members, want %d", c.status, c.lines-around, members)
	}
}

// pages is a store in which everything is a collection.
type pages struct{ largeStore }

func (pages) Open(context.Context, string, tree.ReadOptions, tree.Condition) (tree.Content, tree.State, error) {
	return nil, tree.State{}, tree.ErrIsCollection
}

// failing is a store whose disk fails after a number of members (after).
type failing struct {
	pages
	after int
}

func (s failing) List(ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		told := -1 // the collection itself comes first
		for m, err := range s.pages.List(ctx, dir, opts, cond) {
			if told == s.after {
				yield(tree.State{}, tree.ErrFailed)
				return
			}
			if told++; !yield(m, err) {
				return
			}
		}
	}
}

// A listing that fails is refused before the first byte was sent, and cut off after that.
func TestPageThatFails(t *testing.T) {
	for _, tt := range []struct {
		after int
		cut   bool
	}{{0, false}, {autoindex.MaxSorted, false}, {autoindex.MaxSorted + 1, true}, {3 * autoindex.MaxSorted, true}} {
		t.Run(fmt.Sprint(tt.after), func(t *testing.T) {
			h := newTestHandler(t, Config{Store: failing{pages{largeStore{members: 4 * autoindex.MaxSorted, lag: func(int) {}}}, tt.after}})
			defer func() {
				if cut := recover() != nil; cut != tt.cut {
					t.Errorf("cut off: %v, want %v", cut, tt.cut)
				}
			}()
			if w := ask(t, h, "GET", "/", ""); w.Code != http.StatusInternalServerError {
				t.Errorf("got %d, want 500", w.Code)
			}
		})
	}
}

// HEAD of a collection lists nothing.
func TestHeadOfACollectionListsNothing(t *testing.T) {
	asked := false
	store := pages{largeStore{members: 1, lag: func(int) { asked = true }}}
	if w := ask(t, newTestHandler(t, Config{Store: store}), "HEAD", "/", ""); w.Code != http.StatusOK || asked {
		t.Errorf("got %d, listed %v", w.Code, asked)
	}
}
