package treetest

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// testSpellings: names that the store takes for one are one in every respect, and no resource is lost.
func testSpellings(t *testing.T, b Backend) {
	for _, s := range b.Spellings {
		t.Run(s.Name, func(t *testing.T) { testSpelling(t, b, s) })
	}
	if b.Spellings != nil {
		return
	}
	t.Run("each is a name", func(t *testing.T) {
		f := open(t, b, "f=1", "d/", "d/f=1")
		lock := f.lock(tree.LockRequest{Root: "f"})
		for _, other := range []string{"F", "f.", "f ", "\u00adf"} {
			f.put(other, "2")
			f.wantLocks(other)
			_, created, err := f.Move(f.ctx, other, other+"_", tree.CopyOptions{NoOverwrite: true}, tree.Condition{})
			if err != nil || !created {
				t.Errorf("Move(%q): created %v, error %v", other, created, err)
			}
			f.wantErr("Remove", f.Remove(f.ctx, other+"_", tree.Condition{}), nil)
		}
		f.wantLocks("f", lock)
		f.put("F", "2")
		if _, created, err := f.Copy(f.ctx, "f", "F", tree.CopyOptions{}, tree.Condition{}); err != nil || created {
			t.Errorf("Copy: created %v, error %v", created, err)
		}
		f.put("F", "2")
		if _, created, err := f.Move(f.ctx, "F", "f", tree.CopyOptions{}, tree.Condition{}); err != nil || created {
			t.Errorf("Move: created %v, error %v", created, err)
		}
		f.mkdir("D")
		if _, _, err := f.Copy(f.ctx, "d", "D/d", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Errorf("Copy: %v", err)
		}
		f.wantTree("f=2", "d/", "d/f=1", "D/", "D/d/", "D/d/f=1")
	})
}

// wantSpelled compares the tree with a layout, in any order and spelling.
func (f *fixture) wantSpelled(s Spelling, want ...string) {
	f.t.Helper()
	got := s.fold(Layout(f.t, f.Store))
	if want = s.fold(want); !slices.Equal(got, want) {
		f.t.Errorf("the tree is\n  %q\nwant\n  %q", got, want)
	}
}

func (s Spelling) fold(layout []string) (folded []string) {
	for _, line := range layout {
		name, content, file := strings.Cut(line, "=")
		segments := strings.Split(name, "/")
		for i, segment := range segments {
			segments[i] = s.Fold(segment)
		}
		if line = strings.Join(segments, "/"); file {
			line += "=" + content
		}
		folded = append(folded, line)
	}
	slices.Sort(folded)
	return folded
}

func testSpelling(t *testing.T, b Backend, s Spelling) {
	file, dir := s.File, s.File+" d"
	if s.Dir != "" {
		dir = s.Dir
	}
	fileToo, dirToo := s.Other(file), s.Other(dir)
	in := func(dir, base string) string { return dir + "/" + base }
	layout := []string{file + "=1", "x=x", dir + "/", in(dir, file) + "=2", in(dir, "x=x")}

	t.Run("it stands for what is there", func(t *testing.T) {
		f := open(t, b, layout...)
		if state := f.stat(fileToo, tree.WantTag); state.Tag != TagOf("1") {
			t.Errorf("got %+v", state)
		}
		if state := f.stat(in(dirToo, fileToo), tree.WantTag); state.Tag != TagOf("2") {
			t.Errorf("got %+v", state)
		}
		_, _, err := f.tryPut(fileToo, "3", IfAbsent(fileToo))
		f.wantErr("Put if nothing is there", err, errStale)
		_, _, err = f.tryPut(fileToo, "3", IfTag(fileToo, TagOf("2")))
		f.wantErr("Put of another version", err, errStale)
		_, err = f.Mkdir(f.ctx, dirToo, tree.MkdirOptions{}, tree.Condition{})
		f.wantErr("Mkdir", err, tree.ErrExist)
		_, _, err = f.Copy(f.ctx, "x", fileToo, tree.CopyOptions{NoOverwrite: true}, tree.Condition{})
		f.wantErr("Copy over nothing", err, tree.ErrExist)
		_, _, err = f.Move(f.ctx, "x", fileToo, tree.CopyOptions{NoOverwrite: true}, tree.Condition{})
		f.wantErr("Move over nothing", err, tree.ErrExist)
		f.wantSpelled(s, layout...)
		if _, created, err := f.tryPut(fileToo, "3", IfTag(file, TagOf("1"))); err != nil || created {
			t.Errorf("Put: created %v, error %v", created, err)
		}
		if _, created, err := f.Move(f.ctx, "x", in(dirToo, fileToo), tree.CopyOptions{}, tree.Condition{}); err != nil || created {
			t.Errorf("Move: created %v, error %v", created, err)
		}
		f.wantSpelled(s, file+"=3", dir+"/", in(dir, file)+"=x", in(dir, "x=x"))
		f.wantErr("Remove", f.Remove(f.ctx, in(dirToo, fileToo), tree.Condition{}), nil)
		f.wantErr("Remove", f.Remove(f.ctx, dirToo, tree.Condition{}), nil)
		f.wantSpelled(s, file+"=3")
	})

	for _, test := range []struct {
		about, from, to string
		base            string // that a listing has afterwards
	}{
		{"a file", file, fileToo, fileToo},
		{"a file, from another spelling", fileToo, file, file},
		{"a member", in(dir, file), in(dir, fileToo), fileToo},
		{"a member of a collection that is spelled otherwise", in(dir, file), in(dirToo, fileToo), fileToo},
		{"a collection", dir, dirToo, dirToo},
	} {
		for _, about := range []string{"", ", over nothing", ", a version", ", another version"} {
			t.Run("the name is spelled anew of "+test.about+about, func(t *testing.T) {
				f := open(t, b, layout...)
				opts, check := tree.CopyOptions{NoOverwrite: about == ", over nothing"}, tree.Condition{}
				var want error
				switch {
				case strings.HasSuffix(about, " version") && strings.HasPrefix(test.about, "a collection"):
					return
				case about == ", a version":
					check = IfTag(test.from, f.stat(test.from, tree.WantTag).Tag)
				case about == ", another version":
					check, want = IfTag(test.from, TagOf("other")), errStale
				}
				_, _, err := f.Move(f.ctx, test.from, test.to, opts, check)
				f.wantErr("Move", err, want)
				f.wantSpelled(s, layout...)
				if want == nil && s.Kept {
					names := Layout(t, f.Store)
					if !slices.ContainsFunc(names, func(line string) bool {
						name, _, _ := strings.Cut(line, "=")
						_, base := tree.Split(strings.TrimSuffix(name, "/"))
						return base == test.base
					}) {
						t.Errorf("%q is not seen in %q", test.base, names)
					}
				}
				_, _, err = f.Move(f.ctx, test.to, "y", tree.CopyOptions{}, tree.Condition{})
				f.wantErr("Move away", err, nil)
				_, err = f.Stat(f.ctx, test.from, tree.ReadOptions{})
				f.wantErr("Stat", err, tree.ErrNotExist)
			})
		}
	}

	t.Run("it is the same, and contains what the other does", func(t *testing.T) {
		f := open(t, b, layout...)
		f.unchanged("what makes no sense", func() {
			for _, transfer := range []struct {
				name string
				do   func(from, to string) error
			}{
				{"Copy", func(from, to string) error {
					_, _, err := f.Copy(f.ctx, from, to, tree.CopyOptions{}, tree.Condition{})
					return err
				}},
				{"Move", func(from, to string) error {
					_, _, err := f.Move(f.ctx, from, to, tree.CopyOptions{}, tree.Condition{})
					return err
				}},
			} {
				f.wantErr(transfer.name+" into itself", transfer.do(dir, in(dirToo, "y")), tree.ErrNested)
				f.wantErr(transfer.name+" into itself", transfer.do(dirToo, in(dir, "y")), tree.ErrNested)
				f.wantErr(transfer.name+" over what it is in", transfer.do(in(dir, file), dirToo), tree.ErrNested)
				f.wantErr(transfer.name+" over what it is in", transfer.do(in(dirToo, file), dir), tree.ErrNested)
				f.wantErr(transfer.name+" onto itself", transfer.do(in(dir, file), in(dirToo, file)), tree.ErrSame)
			}
			_, _, err := f.Copy(f.ctx, file, fileToo, tree.CopyOptions{}, tree.Condition{})
			f.wantErr("Copy onto itself", err, tree.ErrSame)
			_, _, err = f.Copy(f.ctx, dir, dirToo, tree.CopyOptions{Shallow: true}, tree.Condition{})
			f.wantErr("Copy onto itself", err, tree.ErrSame)
		})
	})

	t.Run("a lock is of all spellings", func(t *testing.T) {
		f := open(t, b, layout...)
		of := func(name string, l tree.Lock) tree.Lock { l.Root = name; return l }
		one := f.lock(tree.LockRequest{Root: file})
		all := f.lock(tree.LockRequest{Root: dir, Infinite: true})
		f.wantLocks(file, one)
		f.wantLocks(fileToo, of(fileToo, one))
		f.wantLocks(dirToo, of(dirToo, all))
		f.wantLocks(in(dirToo, fileToo), of(dirToo, all))
		f.wantErr("Try", f.Try(f.ctx, If(func(v tree.View) error {
			locks, err := v.Locks(in(dirToo, "new"))
			if len(locks) != 1 || locks[0].Root != dirToo {
				t.Errorf("what is not there has the locks %+v", locks)
			}
			return err
		}, in(dirToo, "new"))), nil)
		for _, root := range []string{fileToo, dirToo, in(dirToo, fileToo), in(dirToo, "new")} {
			_, _, err := f.Lock(f.ctx, tree.LockRequest{Root: root, Timeout: time.Hour}, tree.Condition{})
			if locked := new(tree.LockedError); !errors.As(err, &locked) {
				t.Errorf("Lock(%q): %v", root, err)
			}
		}
		seen := map[string]int{}
		for state, err := range Members(f.ctx, f, "", tree.WantLocks) {
			if err != nil {
				t.Error(err)
			}
			seen[s.Fold(state.Name)] = len(state.Locks)
		}
		if seen[s.Fold(file)] != 1 || seen[s.Fold(dir)] != 1 || seen["x"] != 0 {
			t.Errorf("the members have locks: %v", seen)
		}
		if l, err := f.Refresh(f.ctx, in(dirToo, fileToo), []string{all.Token}, 2*time.Hour, tree.Condition{}); err != nil || l.Token != all.Token {
			t.Errorf("Refresh: %+v, %v", l, err)
		}
		f.wantErr("Unlock of another", f.Unlock(f.ctx, fileToo, all.Token, tree.Condition{}), tree.ErrNoLock)
		f.wantErr("Unlock", f.Unlock(f.ctx, dirToo, all.Token, tree.Condition{}), nil)
		f.wantErr("Unlock", f.Unlock(f.ctx, fileToo, one.Token, tree.Condition{}), nil)
		f.wantLocks(file)
		f.wantLocks(dir)

		// The lock has the spelling with which it was taken.
		one = f.lock(tree.LockRequest{Root: fileToo})
		f.wantLocks(file, of(file, one))
		for state, err := range Members(f.ctx, f, "", tree.WantLocks) {
			if err != nil || len(state.Locks) != map[string]int{s.Fold(file): 1}[s.Fold(state.Name)] {
				t.Errorf("%q has the locks %v, error %v", state.Name, state.Locks, err)
			}
		}
	})

	t.Run("a lock ends with what it is on", func(t *testing.T) {
		for about, do := range map[string]func(f *fixture) error{
			"Remove": func(f *fixture) error { return f.Remove(f.ctx, dirToo, tree.Condition{}) },
			"Move": func(f *fixture) error {
				_, _, err := f.Move(f.ctx, dirToo, "y", tree.CopyOptions{}, tree.Condition{})
				return err
			},
			"Move anew": func(f *fixture) error {
				_, _, err := f.Move(f.ctx, dir, dirToo, tree.CopyOptions{}, tree.Condition{})
				return err
			},
			"Copy over": func(f *fixture) error {
				_, _, err := f.Copy(f.ctx, "x", dirToo, tree.CopyOptions{}, tree.Condition{})
				return err
			},
			"Remove both": func(f *fixture) error {
				return cmp.Or(f.Remove(f.ctx, in(dirToo, fileToo), tree.Condition{}), f.Remove(f.ctx, dir, tree.Condition{}))
			},
		} {
			f := open(t, b, layout...)
			f.lock(tree.LockRequest{Root: dir})
			f.lock(tree.LockRequest{Root: in(dir, file)})
			other := f.lock(tree.LockRequest{Root: "x"})
			f.wantErr(about, do(f), nil)
			f.wantErr("Try", f.Try(f.ctx, If(func(v tree.View) error {
				left, err := v.Locks("")
				stays := 0
				if about == "Copy over" {
					stays = 1 // RFC 4918 §9.8.4: the lock on the destination itself
				}
				if len(left) != 1+stays || !slices.ContainsFunc(left, func(l tree.Lock) bool { return l.Token == other.Token }) {
					t.Errorf("%s leaves the locks %+v", about, left)
				}
				return err
			}, "")), nil)
		}
	})
}

// testForms: a missing name stands for an existing one with the same composed form.
func testForms(t *testing.T, b Backend) {
	const (
		composed   = "\u00dcbung ge\u00e4ndert"
		decomposed = "U\u0308bung gea\u0308ndert"
		mixed      = "\u00dcbung gea\u0308ndert"
		mixedToo   = "U\u0308bung ge\u00e4ndert"
	)
	if _, ok := open(t, b).Store.(tree.Speller); !ok {
		t.Skip("NOT RUN: tree.Speller is optional, and to this store each form is another name")
	}
	for _, test := range []struct {
		about string
		there []string
		asked string
		want  string
	}{
		{"composed", []string{composed}, decomposed, composed},
		{"decomposed", []string{decomposed}, composed, decomposed},
		{"a mixture", []string{mixed}, composed, mixed},
		{"a mixture, by another one", []string{mixed}, mixedToo, mixed},
		{"decomposed, by a mixture", []string{decomposed}, mixed, decomposed},
		{"what is there stands for itself", []string{mixed, composed}, mixed, mixed},
		{"none of two mixtures", []string{mixed, mixedToo}, decomposed, decomposed},
		{"a character with another canonical one", []string{"\u212b"}, "A\u030a", "\u212b"},
		{"the same, composed", []string{"\u212b"}, "\u00c5", "\u212b"},
		{"by a character with another canonical one", []string{"\u00c5"}, "\u212b", "\u00c5"},
		{"a compatibility ideograph", []string{"\uf900"}, "\u8c48", "\uf900"},
		{"marks in another order", []string{"a\u0323\u0307"}, "a\u0307\u0323", "a\u0323\u0307"},
		{"nothing", nil, mixed, mixed},
		{"what looks alike is another", []string{"\ufb01"}, "fi", "fi"},
		{"bytes that are no text", []string{"\u00e4\xff"}, "a\u0308\xff", "a\u0308\xff"},
	} {
		t.Run(test.about, func(t *testing.T) {
			f := open(t, b)
			speller := f.Store.(tree.Speller)
			if len(b.Spellings) > 0 {
				t.Log("the disk has a say too")
				if len(test.there) > 1 {
					return
				}
			}
			for _, name := range test.there {
				f.put(name, "1")
			}
			got, err := speller.Spelled(f.ctx, test.asked)
			if err != nil || got != test.want && f.same(got, test.want) != nil {
				t.Errorf("%q is spelled %q, error %v; want %q", test.asked, got, err, test.want)
			}
			// The same for members of collections.
			f.mkdir("d")
			for _, name := range test.there {
				f.mkdir("d/" + name)
				f.put("d/"+name+"/"+name, "2")
			}
			if len(test.there) != 1 {
				return
			}
			deep := "d/" + test.want + "/" + test.want
			got, err = speller.Spelled(f.ctx, "d/"+test.asked+"/"+test.asked)
			if test.want == test.asked {
				return
			}
			if err != nil || got != deep && f.same(got, deep) != nil {
				t.Errorf("%q is spelled %q, error %v", test.asked, got, err)
			}
			if state, err := f.Stat(f.ctx, got, tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Tag != TagOf("2") {
				t.Errorf("got %+v, error %v", state, err)
			}
		})
	}
}

// same fails unless two names belong to one file.
func (f *fixture) same(a, b string) error {
	return f.Try(f.ctx, If(func(v tree.View) error {
		if !tree.SameName(v, a, b) {
			return errors.New("they are two")
		}
		return nil
	}, a, b))
}
