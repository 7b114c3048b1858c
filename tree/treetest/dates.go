package treetest

import (
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A history is a sequence of changes to the name f, and of dates that are shown to clients meanwhile.
type history struct {
	*fixture
	shown    map[string][]time.Time // the dates that were shown, by content
	restarts bool                   // the store is closed and opened again after each date that was shown
}

func (h *history) restart() {
	if h.restarts {
		h.Store = h.reopen()
	}
}

// see notes a State as a client sees it, which must have no date in the future.
func (h *history) see(content string, s tree.State) tree.State {
	h.t.Helper()
	return h.seeAs(content, s, s.LastModified)
}

// seeAll is [history.see] of a State that may have any date.
func (h *history) seeAll(content string, s tree.State) tree.State {
	h.t.Helper()
	return h.seeAs(content, s, s.Modified)
}

func (h *history) seeAs(content string, s tree.State, date time.Time) tree.State {
	h.t.Helper()
	now := h.clock.Now()
	come := s.Modified
	if s.Modified.After(now) {
		come = time.Time{}
	}
	if !s.LastModified.Equal(come) || s.Modified.IsZero() || !s.Modified.Equal(s.Modified.Truncate(time.Second)) {
		h.t.Errorf("%q has the time %v, and is shown with %v at %v", content, s.Modified, s.LastModified, now)
	}
	h.refuseOthers(content)
	if !date.IsZero() {
		h.shown[content] = append(h.shown[content], date)
	}
	return s
}

// refuseOthers asserts that no date that was shown for other content identifies the current version.
func (h *history) refuseOthers(content string) {
	h.t.Helper()
	s := h.viewed("f")
	for other, dates := range h.shown {
		for _, date := range dates {
			if other != content && s.ProvenBy(date) == tree.True {
				h.t.Errorf("%q was shown with %v, which proves %q: %+v", other, date, content, s)
			}
		}
	}
}

// viewed returns the State of a file in a Check, with its tag.
func (f *fixture) viewed(name string) (s tree.State) {
	f.t.Helper()
	err := f.Try(f.ctx, If(func(v tree.View) (err error) {
		if s, err = v.State(name); err == nil && s.Tag == "" {
			err = tree.ErrTagUnknown
		}
		return err
	}, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (h *history) put(content string, modified ...time.Time) tree.State {
	h.t.Helper()
	opts := tree.PutOptions{Length: int64(len(content))}
	if len(modified) > 0 {
		opts.Modified = modified[0]
	}
	s, _, err := h.Put(h.ctx, "f", strings.NewReader(content), opts, tree.Condition{})
	if err != nil {
		h.t.Fatal(err)
	}
	if s.Modified.Equal(opts.Modified) {
		h.seeAll(content, s) // the client knows the date that it has set
	} else {
		h.see(content, s)
	}
	h.restart()
	return s
}

// patch sets the modification time.
func (h *history) patch(content string, modified time.Time) {
	h.t.Helper()
	h.must(h.PatchProperties(h.ctx, "f", tree.Patch{Modified: modified}, tree.Condition{}))
	h.shown[content] = append(h.shown[content], modified.Truncate(time.Second))
	h.restart()
}

// look looks at the name in all ways, and returns the last State.
func (h *history) look() (s tree.State) {
	h.t.Helper()
	content, s := read(h.t, h.Store, "f")
	h.see(content, s)
	h.seeAll(content, h.stat("f", 0))
	h.seeAll(content, h.stat("f", tree.WantTag))
	for m, err := range Members(h.ctx, h, "", 0) {
		if err == nil && m.Name == "f" {
			h.seeAll(content, m)
		}
	}
	s = h.viewed("f")
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
		unsure bool // in the end, the date of the current version does not distinguish it from earlier ones
		// restarts is the difference if the store is opened again after each look: "unsure", "sure", or "any" if that
		// depends on the file system. A store for which every date counts as shown may differ in the same rows, as if it had
		// been opened again.
		restarts string
		do       func(h *history)
	}{
		{name: "one version", do: func(h *history) { h.put("one") }},
		{name: "two versions of one second", do: func(h *history) { h.put("one"); h.put("two") }},
		{name: "many versions of one second", do: func(h *history) { h.put("one"); h.put("two"); h.put("three"); h.put("four") }, restarts: "unsure"},
		{name: "two versions of one second, looked at", do: func(h *history) { h.put("one"); h.look(); h.put("two"); h.look() }},
		{name: "many versions of one second, looked at", do: func(h *history) {
			for _, content := range []string{"one", "two", "three"} {
				h.put(content)
				h.look()
			}
		}, unsure: true}, // the second one was shown with the date of the third, which is in the next second
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
			h.must(h.Remove(h.ctx, "f", tree.Condition{}))
			h.put("two")
		}, restarts: "unsure"},
		{name: "a date set back", do: func(h *history) { h.put("one"); h.put("two", then) }, unsure: true},
		{name: "a date set to that of the one before", do: func(h *history) { h.put("one", then); h.put("two", then) }, unsure: true},
		{name: "a date set on", do: func(h *history) { h.put("one", then); h.put("two", then.Add(time.Second)) }},
		{name: "a date that has not come", do: func(h *history) {
			s := h.put("one", h.clock.Now().Add(time.Hour))
			for range 3 {
				if now := h.look(); !now.Modified.Equal(s.Modified) {
					h.t.Errorf("it was shown with %v, and then with %v", s.Modified, now.Modified)
				}
				h.clock.Advance(30 * time.Minute)
			}
		}},
		{name: "a date that has not come, and then one of now", do: func(h *history) {
			h.put("one", h.clock.Now().Add(time.Hour))
			h.put("two")
		}},
		{name: "a date that has not come, and then one of now, after it has", do: func(h *history) {
			h.put("one", h.clock.Now().Add(time.Second))
			h.put("two")
			h.clock.Advance(time.Second)
			h.put("three")
		}},
		{name: "dates far ahead of several versions, and then one between them", do: func(h *history) {
			h.put("one", h.clock.Now().Add(time.Hour))
			h.put("two", h.clock.Now().AddDate(100, 0, 0))
			h.put("three", h.clock.Now().AddDate(50, 0, 0))
		}, unsure: true, restarts: "sure"},
		{name: "a date far ahead of two versions", do: func(h *history) {
			h.put("one", h.clock.Now().AddDate(100, 0, 0))
			h.put("two", h.clock.Now().AddDate(100, 0, 0))
		}, unsure: true},
		{name: "a date that has not come, of what is deleted", do: func(h *history) {
			h.put("one", h.clock.Now().Add(2*time.Second))
			h.must(h.Remove(h.ctx, "f", tree.Condition{}))
			h.clock.Advance(2 * time.Second)
			h.put("two")
		}},
		{name: "a date that has not come, and then none, and then that", do: func(h *history) {
			s := h.put("one", h.clock.Now().Add(time.Hour))
			h.patch("one", then)
			h.put("two", s.Modified)
		}, unsure: true},
		{name: "two dates that have not come, of one version", do: func(h *history) {
			s := h.put("one", h.clock.Now().Add(time.Hour))
			h.patch("one", s.Modified.Add(time.Hour))
			h.put("two", s.Modified)
		}, unsure: true},
		{name: "the clock steps back before the date of what is there", do: func(h *history) {
			h.put("one")
			h.clock.Advance(-time.Hour)
			h.look()
		}, restarts: "any"},
		{name: "a date long ago", do: func(h *history) { h.put("one", time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC)) }},
		{name: "a date set back by a patch", do: func(h *history) {
			h.put("one")
			h.patch("one", then)
			h.look()
			h.put("two")
			h.patch("two", then)
		}, unsure: true},
		{name: "a date set back by a patch, and nobody looks", do: func(h *history) {
			h.put("one")
			h.patch("one", then)
			h.put("two", then)
		}, unsure: true},
		{name: "a date that has not come, by a patch", do: func(h *history) {
			h.put("one")
			h.patch("one", h.clock.Now().Add(time.Hour))
		}},
		{name: "a date that has not come, by a patch, and then the same of another version", do: func(h *history) {
			h.put("one")
			h.patch("one", h.clock.Now().Add(time.Hour))
			h.put("two")
			h.patch("two", h.clock.Now().Add(time.Hour))
		}, unsure: true},
		{name: "a date that has not come, by a copy and a move", do: func(h *history) {
			h.lay("g=two", "h=three")
			h.put("one")
			s, _, err := h.Copy(h.ctx, "g", "f", tree.CopyOptions{Modified: h.clock.Now().Add(time.Hour)}, tree.Condition{})
			h.must(err)
			h.seeAll("two", s)
			s, _, err = h.Move(h.ctx, "h", "f", tree.CopyOptions{Modified: h.clock.Now().Add(2 * time.Hour)}, tree.Condition{})
			h.must(err)
			h.seeAll("three", s)
		}, restarts: "unsure"},
		{name: "a copy onto it", do: func(h *history) {
			h.fixture.put("g", "two")
			h.put("one")
			s, _, err := h.Copy(h.ctx, "g", "f", tree.CopyOptions{}, tree.Condition{})
			h.must(err)
			h.see("two", s)
		}},
		{name: "a move onto it", do: func(h *history) {
			h.fixture.put("g", "two")
			h.put("one")
			s, _, err := h.Move(h.ctx, "g", "f", tree.CopyOptions{}, tree.Condition{})
			h.must(err)
			h.see("two", s)
		}, unsure: true},
		{name: "a move onto it, of what is younger", do: func(h *history) {
			h.put("one")
			h.clock.Advance(time.Second)
			h.fixture.put("g", "two")
			s, _, err := h.Move(h.ctx, "g", "f", tree.CopyOptions{}, tree.Condition{})
			h.must(err)
			h.see("two", s)
		}},
		{name: "a date that a move or copy sets", do: func(h *history) {
			h.lay("g=two", "h=three")
			h.put("one", then)
			s, _, err := h.Copy(h.ctx, "g", "f", tree.CopyOptions{Modified: then.Add(time.Second)}, tree.Condition{})
			h.must(err)
			h.see("two", s)
			s, _, err = h.Move(h.ctx, "h", "f", tree.CopyOptions{Modified: then}, tree.Condition{})
			h.must(err)
			h.see("three", s)
		}, unsure: true},
		{name: "made by a lock", do: func(h *history) {
			h.put("one")
			h.must(h.Remove(h.ctx, "f", tree.Condition{}))
			_, _, err := h.Lock(h.ctx, tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{})
			h.must(err)
		}, restarts: "unsure"},
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
		}, restarts: "any"},
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
				unsure := test.unsure
				if restarts && test.restarts != "" {
					unsure = test.restarts == "unsure"
				}
				h.look()
				either := restarts && test.restarts == "any"
				if b.EveryDate != "" && test.restarts != "" {
					t.Log(b.EveryDate)
					either = true
				}
				if s := h.viewed("f"); !either && (s.ProvenBy(s.Modified) == tree.True) == unsure {
					t.Errorf("whether it can be told from others is wrong: %+v", s)
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
		if _, _, err := f.Move(f.ctx, "e", "d", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if after := f.viewed("d/f"); after.ProvenBy(before.Modified) == tree.True {
			t.Errorf("before it was %+v, now it is %+v", before, after)
		}
	})
	t.Run("as the disk has them", func(t *testing.T) { testKeptDates(t, b) })
}
