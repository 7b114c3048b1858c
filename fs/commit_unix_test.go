//go:build unix

package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A local program comes between at a call of a commit that means to replace, move or remove exactly what was seen.
func TestCompareAndExchange(t *testing.T) {
	type step struct {
		op string
		do func(dir string) error
	}
	write := func(name, content string) func(string) error {
		return func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "tmp"), []byte(content), 0o666),
				os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, name)))
		}
	}
	inPlace := func(name, content string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666) }
	}
	remove := func(name string) func(string) error {
		return func(dir string) error { return os.Remove(filepath.Join(dir, name)) }
	}
	commit := func(t *testing.T, s *FS, how How) error {
		st := stageFile(t, s, "ours")
		defer st.Discard()
		return s.Commit(st, "f", see(t, s, "f"), how)
	}
	move := func(t *testing.T, s *FS, how How) error {
		return moveTest(s, "f", see(t, s, "f"), "g", vfs.Info{}, how)
	}
	over := func(t *testing.T, s *FS, how How) error {
		return moveTest(s, "o", see(t, s, "o"), "f", see(t, s, "f"), how)
	}
	unlink := func(t *testing.T, s *FS, how How) error { return s.Remove(s.At("f"), see(t, s, "f"), how) }
	for _, test := range []struct {
		name    string
		do      func(t *testing.T, s *FS, how How) error
		between []step // each once, in this order
		any     bool   // whatever version is there
		err     error
		want    string   // what f has then; "" for nothing
		o       string   // what o has, unless as before
		kept    []string // in the history of f
	}{
		{name: "nobody", do: commit, want: "ours", kept: []string{"seen"}},
		{name: "replaced before the look", do: commit, between: []step{{"lease", write("f", "theirs")}},
			err:  volumes.ErrMoved,
			want: "theirs"},
		{name: "rewritten before the look", do: commit, between: []step{{"lease", inPlace("f", "theirs")}},
			err: volumes.ErrMoved, want: "theirs"},
		{name: "replaced at the exchange", do: commit, between: []step{{"exchange", write("f", "theirs")}},
			err: volumes.ErrMoved, want: "theirs"},
		{name: "removed at the exchange", do: commit, between: []step{{"exchange", remove("f")}}, err: volumes.ErrMoved},
		{name: "replaced again when it is taken back", do: commit,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", write("f", "third")}}, err: errStagedLost,
			want: "third", kept: []string{"theirs"}},
		{name: "replaced again and again", do: commit,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", write("f", "third")},
				{"exchange", write("f", "fourth")}}, err: errStagedLost,
			want: "fourth", kept: []string{"third"}},
		{name: "written to before it is taken back", do: commit,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", inPlace("f", "late")}}, err: errStagedLost,
			want: "theirs", kept: []string{"late"}},
		{name: "removed when it is taken back", do: commit,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", remove("f")}},
			err:     errStagedLost, kept: []string{"theirs"}},
		{name: "replaced, and any version may be", do: commit, any: true,
			between: []step{{"exchange", write("f", "theirs")}}, want: "ours", kept: []string{"theirs"}},
		{name: "a directory now, and any version may be replaced", do: commit, any: true,
			between: []step{{"exchange", func(dir string) error {
				return errors.Join(os.Remove(filepath.Join(dir, "f")), os.Mkdir(filepath.Join(dir, "f"), 0o777))
			}}}, err: volumes.ErrMoved, want: "directory"},

		{name: "moved", do: move},
		{name: "replaced at the move", do: move, between: []step{{"renameNew", write("f", "theirs")}}, err: volumes.ErrMoved,
			want: "theirs"},
		{name: "replaced at the move, and made anew", do: move,
			between: []step{{"renameNew", write("f", "theirs")}, {"renameNew", write("f", "third")}}, err: volumes.ErrMoved,
			want: "third", kept: []string{"theirs"}},
		{name: "removed at the move", do: move, between: []step{{"renameNew", remove("f")}}, err: volumes.ErrMoved},

		{name: "moved over", do: over, want: "other", o: "nothing", kept: []string{"seen"}},
		{name: "the source replaced at the move over", do: over, between: []step{{"exchange", write("o", "theirs")}},
			err: volumes.ErrMoved, want: "seen", o: "theirs"},
		{name: "the source replaced at the move over, any version may be replaced", do: over, any: true,
			between: []step{{"exchange", write("o", "theirs")}}, err: volumes.ErrMoved, want: "seen", o: "theirs"},
		{name: "the source removed at the move over", do: over, between: []step{{"exchange", remove("o")}},
			err: volumes.ErrMoved, want: "seen", o: "nothing"},
		// Nobody can tell whether what gave way was replaced before the exchange or after it: it is kept.
		{name: "the target replaced at the move over", do: over, between: []step{{"exchange", write("f", "theirs")}},
			err:  volumes.ErrMoved,
			want: "theirs", kept: []string{"seen"}},
		{name: "the target removed at the move over", do: over, between: []step{{"exchange", remove("f")}},
			err: volumes.ErrMoved},
		// Of each name the other one has what a local program gave it last, and its own what it was given before.
		{name: "the target replaced twice at the move over", do: over,
			between: []step{{"exchange", write("f", "theirs")}, {"exchange", write("f", "third")}}, err: volumes.ErrMoved,
			want: "theirs", o: "third", kept: []string{"seen"}},
		{name: "the source saved anew after the move over", do: over,
			between: []step{{"renameNew", write("o", "saved")}}, want: "other", o: "saved", kept: []string{"seen"}},
		{name: "the source saved twice after the move over", do: over,
			between: []step{{"renameNew", write("o", "saved")}, {"renameNew", write("o", "again")}},
			want:    "other", o: "again",
			kept: []string{"seen"}},
		{name: "the source removed after the move over", do: over,
			between: []step{{"renameNew", remove("o")}}, want: "other", o: "nothing", kept: []string{"seen"}},

		{name: "removed", do: unlink, kept: []string{"seen"}},
		{name: "replaced at the removal", do: unlink, between: []step{{"renameNew", write("f", "theirs")}},
			err: volumes.ErrMoved, want: "theirs"},
		{name: "replaced at the removal, any version may be", do: unlink, any: true,
			between: []step{{"renameNew", write("f", "theirs")}}, kept: []string{"theirs"}},
		{name: "replaced at the removal, and made anew", do: unlink,
			between: []step{{"renameNew", write("f", "theirs")}, {"renameNew", write("f", "third")}}, err: volumes.ErrMoved,
			want: "third", kept: []string{"theirs"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "f=seen", "o=other")
			var between []step
			s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
				if len(between) == 0 || c.Op != between[0].op {
					return nil
				}
				do := between[0].do
				between = between[1:]
				return do(dir)
			}})
			able := s.Abilities()
			if !able.Exchange || !able.Leases {
				t.Fatalf("this needs exchange and leases: %s", able)
			}
			// The directory of the hour is there.
			lay(t, dir, "warm=1")
			if err := s.Remove(s.At("warm"), see(t, s, "warm"), How{}); err != nil {
				t.Fatal(err)
			}
			between = test.between
			if err := test.do(t, s, How{Exact: !test.any, Cause: "PUT"}); !errors.Is(err, test.err) {
				t.Errorf("got error %v, want %v", err, test.err)
			}
			if len(between) != 0 {
				t.Errorf("it did not come to %d of the local program's steps", len(between))
			}
			content := func(name string) string {
				data, err := os.ReadFile(filepath.Join(dir, name))
				switch {
				case errors.Is(err, os.ErrNotExist):
					return ""
				case err != nil:
					return "directory"
				}
				return string(data)
			}
			if got := content("f"); got != test.want {
				t.Errorf("f has %q, want %q", got, test.want)
			}
			o := map[string]string{"": "other", "nothing": ""}
			want, ok := o[test.o]
			if !ok {
				want = test.o
			}
			if got := content("o"); got != want {
				t.Errorf("o has %q, want %q", got, want)
			}
			keeps(t, s, "f", test.kept...)
			if left, err := s.Entries(s.root.Session); len(left) != 1 || err != nil {
				t.Errorf("staged: %q, error %v", left, err)
			}
		})
	}
}

// A program has the file open for writing, or wants to: a write that names a version waits for it, another one does
// not.
func TestWriterInTheWay(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=seen", "o=other")
	s := openTest(t, dir, Options{History: true})
	if !s.Abilities().Leases {
		t.Fatalf("this needs leases: %s", s.Abilities())
	}
	w, err := os.OpenFile(filepath.Join(dir, "f"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	st := stageFile(t, s, "ours")
	defer st.Discard()
	exact := How{Exact: true}
	for name, err := range map[string]error{
		"Commit":    s.Commit(st, "f", see(t, s, "f"), exact),
		"Move":      moveTest(s, "f", see(t, s, "f"), "g", vfs.Info{}, exact),
		"Move over": moveTest(s, "o", see(t, s, "o"), "f", see(t, s, "f"), exact),
		"Remove":    s.Remove(s.At("f"), see(t, s, "f"), exact),
	} {
		if !errors.Is(err, vfs.ErrWriter) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	has(t, dir, "f", "seen")
	has(t, dir, "o", "other")
	keeps(t, s, "f")
	if err := s.Commit(st, "f", see(t, s, "f"), How{}); err != nil {
		t.Errorf("whatever is there: %v", err)
	}
	if _, err := w.WriteString(" and theirs"); err != nil {
		t.Fatal(err)
	}
	has(t, dir, "f", "ours")
	keeps(t, s, "f", "seen and theirs")
}

func TestCreateOnly(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	st := stageFile(t, s, "ours")
	defer st.Discard()
	lay(t, dir, "f=of a local program", "d/")
	for _, name := range []string{"f", "d"} {
		if err := s.Commit(st, name, vfs.Info{}, How{}); !errors.Is(err, iofs.ErrExist) {
			t.Errorf("%q: got error %v", name, err)
		}
	}
	has(t, dir, "f", "of a local program")
}
