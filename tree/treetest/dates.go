package treetest

import (
	"strings"
	"testing"
	"time"

	"ifmatch/tree"
)

// A history is what happens to the name f, and what is shown of it meanwhile.
type history struct {
	*fixture
	shown    map[string][]time.Time // the dates by content
	restarts bool                   // the store is closed and opened again whenever something was shown
}

func (h *history) restart() {
	if h.restarts {
		h.Store = h.reopen()
	}
}

// see notes what a client sees, as it must be.
func (h *history) see(content string, s tree.State) tree.State {
	h.t.Helper()
	now := h.clock.Now()
	if s.Modified.After(now) || !s.Modified.Equal(s.Modified.Truncate(time.Second)) {
		h.t.Errorf("%q is shown with %v at %v", content, s.Modified, now)
	}
	for other, dates := range h.shown {
		for _, date := range dates {
			if other != content && s.Earlier.Before(date) {
				h.t.Errorf("%q was shown with %v, and %q says that nothing was later than %v", other, date, content, s.Earlier)
			}
		}
	}
	h.shown[content] = append(h.shown[content], s.Modified)
	return s
}

func (h *history) put(content string, modified ...time.Time) tree.State {
	h.t.Helper()
	opts := tree.PutOptions{Length: int64(len(content))}
	if len(modified) > 0 {
		opts.Modified = modified[0]
	}
	s, _, err := h.Put(h.ctx, "f", strings.NewReader(content), opts, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.see(content, s)
	h.restart()
	return s
}

// look looks at the name in each way there is, and returns what the last one saw.
func (h *history) look() (s tree.State) {
	h.t.Helper()
	content, s := read(h.t, h.Store, "f")
	h.see(content, s)
	h.see(content, h.stat("f", 0))
	h.see(content, h.stat("f", tree.WantTag))
	for m, err := range h.List(h.ctx, "", 0) {
		if err == nil && m.Name == "f" {
			h.see(content, m)
		}
	}
	err := h.Try(h.ctx, func(v tree.View) (err error) {
		if s, err = v.State("f"); err == nil && s.Tag == "" {
			err = tree.ErrTagUnknown
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.see(content, s)
	h.restart()
	return s
}

func (h *history) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func testDates(t *testing.T, b Backend) {
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, test := range []struct {
		name   string
		unsure bool // in the end, the date of what is there does not tell it from what was there
		do     func(h *history)
	}{
		{name: "one version", do: func(h *history) { h.put("one") }},
		{name: "two versions of one second", do: func(h *history) { h.put("one"); h.put("two") }},
		{name: "many versions of one second", do: func(h *history) { h.put("one"); h.put("two"); h.put("three"); h.put("four") }},
		{name: "many versions of one second, looked at", do: func(h *history) {
			for _, content := range []string{"one", "two", "three"} {
				h.put(content)
				h.look()
			}
		}},
		{name: "versions of two seconds", do: func(h *history) {
			h.put("one")
			h.put("two")
			h.clock.Advance(time.Second)
			h.look()
			h.put("three")
		}},
		{name: "the same content again", do: func(h *history) { h.put("one"); h.put("one") }},
		{name: "deleted and made anew", do: func(h *history) {
			h.put("one")
			h.must(h.Remove(h.ctx, "f", nil))
			h.put("two")
		}},
		{name: "a date set back", do: func(h *history) { h.put("one"); h.put("two", then) }, unsure: true},
		{name: "a date set to that of the one before", do: func(h *history) { h.put("one", then); h.put("two", then) }, unsure: true},
		{name: "a date set on", do: func(h *history) { h.put("one", then); h.put("two", then.Add(time.Second)) }},
		{name: "a date that has not come", do: func(h *history) {
			s := h.put("one", h.clock.Now().Add(time.Hour))
			h.clock.Advance(30 * time.Minute)
			if now := h.look(); !now.Modified.Equal(s.Modified) {
				h.t.Errorf("it was shown with %v, and then with %v", s.Modified, now.Modified)
			}
		}},
		{name: "a date set back by a patch", do: func(h *history) {
			h.put("one")
			h.must(h.PatchProperties(h.ctx, "f", tree.Patch{Modified: then}, nil))
			h.look()
			h.put("two")
			h.must(h.PatchProperties(h.ctx, "f", tree.Patch{Modified: then}, nil))
		}, unsure: true},
		{name: "a date that has not come, by a patch", do: func(h *history) {
			h.put("one")
			h.must(h.PatchProperties(h.ctx, "f", tree.Patch{Modified: h.clock.Now().Add(time.Hour)}, nil))
		}},
		{name: "a copy onto it", do: func(h *history) {
			h.fixture.put("g", "two")
			h.put("one")
			s, _, err := h.Copy(h.ctx, "g", "f", tree.CopyOptions{}, nil)
			h.must(err)
			h.see("two", s)
		}},
		{name: "a move onto it", do: func(h *history) {
			h.fixture.put("g", "two")
			h.put("one")
			s, _, err := h.Move(h.ctx, "g", "f", tree.CopyOptions{}, nil)
			h.must(err)
			h.see("two", s)
		}, unsure: true},
		{name: "a move onto it, of what is younger", do: func(h *history) {
			h.put("one")
			h.clock.Advance(time.Second)
			h.fixture.put("g", "two")
			s, _, err := h.Move(h.ctx, "g", "f", tree.CopyOptions{}, nil)
			h.must(err)
			h.see("two", s)
		}},
		{name: "a date that a move or copy sets", do: func(h *history) {
			h.lay("g=two", "h=three")
			h.put("one", then)
			s, _, err := h.Copy(h.ctx, "g", "f", tree.CopyOptions{Modified: then.Add(time.Second)}, nil)
			h.must(err)
			h.see("two", s)
			s, _, err = h.Move(h.ctx, "h", "f", tree.CopyOptions{Modified: then}, nil)
			h.must(err)
			h.see("three", s)
		}, unsure: true},
		{name: "made by a lock", do: func(h *history) {
			h.put("one")
			h.must(h.Remove(h.ctx, "f", nil))
			_, _, err := h.Lock(h.ctx, tree.Lock{Root: "f", Expires: h.clock.Now().Add(time.Hour)}, nil)
			h.must(err)
		}},
		{name: "the clock steps back", do: func(h *history) {
			h.put("one")
			h.clock.Advance(-time.Hour)
			h.put("two")
		}, unsure: true},
		{name: "the clock steps back and comes on again", do: func(h *history) {
			h.put("one")
			h.clock.Advance(-time.Hour)
			h.put("two")
			h.clock.Advance(time.Hour + time.Second)
			h.look()
			h.put("three")
		}},
	} {
		for _, restarts := range []bool{false, true} {
			name := test.name
			if restarts {
				name += ", with restarts"
			}
			t.Run(name, func(t *testing.T) {
				if restarts && (b.Forgets != "" || b.ForgetsDates != "") {
					t.Log(b.Forgets, b.ForgetsDates)
					return
				}
				h := &history{open(t, b), map[string][]time.Time{}, restarts}
				test.do(h)
				h.look()
				h.clock.Advance(2 * time.Second)
				if s := h.look(); s.Modified.After(s.Earlier) == test.unsure {
					t.Errorf("it is shown with %v, other content not after %v", s.Modified, s.Earlier)
				}
				h.put("last")
				h.clock.Advance(time.Second)
				h.look()
			})
		}
	}
	t.Run("a collection in place of another", func(t *testing.T) {
		f := open(t, b, "d/", "d/f=one", "e/", "e/f=two")
		before := f.stat("d/f", 0)
		if _, _, err := f.Move(f.ctx, "e", "d", tree.CopyOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		if after := f.stat("d/f", 0); after.Earlier.Before(before.Modified) {
			t.Errorf("before it was %+v, now it is %+v", before, after)
		}
	})
	t.Run("a collection is shown with a date that has come", func(t *testing.T) {
		f := open(t, b)
		s, err := f.Mkdir(f.ctx, "d", tree.MkdirOptions{Modified: f.clock.Now().Add(time.Hour)}, nil)
		if err != nil || s.Modified.After(f.clock.Now()) {
			t.Errorf("got %+v, error %v", s, err)
		}
	})
}
