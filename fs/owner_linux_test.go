package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

const nobody = 65534

// A modeless disk has one mode for everything, and one owner, as FAT has.
type modeless struct {
	vfs.System
	owner vfs.ID
}

func (m modeless) as(info vfs.Info, err error) (vfs.Info, error) {
	if info.Exists() {
		info.Mode, info.User = 0o777, m.owner
	}
	return info, err
}

func (m modeless) Lstat(at vfs.At, name string) (vfs.Info, error) {
	return m.as(m.System.Lstat(at, name))
}
func (m modeless) Fstat(f *vfs.File) (vfs.Info, error)  { return m.as(m.System.Fstat(f)) }
func (m modeless) Chmod(*vfs.File, iofs.FileMode) error { return syscall.EPERM }
func (m modeless) Volume(*vfs.File) vfs.Volume          { return vfs.Volume{Modeless: true} }

// What others can write to is not taken for our state, at the top or where another disk is mounted; and it says what to
// do.
func TestStateOfAStranger(t *testing.T) {
	asRoot := os.Geteuid() == 0
	chown := func(dir string, names ...string) error {
		var errs []error
		for _, name := range names {
			errs = append(errs, os.Chown(filepath.Join(dir, name), nobody, nobody))
		}
		return errors.Join(errs...)
	}
	for _, test := range []struct {
		name string
		do   func(dir string) error // with a directory in which there is a state directory
		root bool                   // only root can do that
		want string                 // in the error; "" for none
	}{
		{"as it was made", func(string) error { return nil }, false, ""},
		{"others can see what is in it",
			func(dir string) error { return os.Chmod(filepath.Join(dir, volumes.OwnDir), 0o755) }, false, ""},
		{"the group can write", func(dir string) error { return os.Chmod(filepath.Join(dir, volumes.OwnDir), 0o770) },
			false, "chmod go-w"},
		{"all can write", func(dir string) error { return os.Chmod(filepath.Join(dir, volumes.OwnDir), 0o777) }, false,
			"chmod go-w"},
		{"all can write, and none remove", func(dir string) error {
			return os.Chmod(filepath.Join(dir, volumes.OwnDir), 0o777|iofs.ModeSticky)
		}, false, "chmod go-w"},
		{"all can write to what is in it, but not get there", func(dir string) error {
			return os.Chmod(filepath.Join(dir, volumes.OwnDir, formatPart), 0o666)
		}, false, ""},
		{"all can write to what is in it", func(dir string) error {
			return errors.Join(os.Chmod(filepath.Join(dir, volumes.OwnDir), 0o711),
				os.Chmod(filepath.Join(dir, volumes.OwnDir, volumes.HistoryPart), 0o777))
		}, false, "/history can be written to by others"},
		{"it is a link", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, volumes.OwnDir), filepath.Join(dir, "other")),
				os.Symlink("other", filepath.Join(dir, volumes.OwnDir)))
		}, false, "a symbolic link"},
		{"it belongs to another user", func(dir string) error { return chown(dir, volumes.OwnDir) }, true,
			"belongs to nobody"},
		{"what is in it belongs to another user",
			func(dir string) error { return chown(dir, volumes.OwnDir+"/"+volumes.StagePart) },
			true, "/stage belongs to nobody"},
		{"it belongs to the owner of what is served",
			func(dir string) error { return chown(dir, "", volumes.OwnDir, volumes.OwnDir+"/"+volumes.StagePart) },
			true, ""},
		{"it belongs to root, in what another user owns", func(dir string) error { return chown(dir, "") }, true, ""},
	} {
		for _, where := range []string{"", "disk"} {
			t.Run(test.name+", "+where, func(t *testing.T) {
				if (test.root || where != "") && !asRoot {
					return
				}
				dir := t.TempDir()
				served := filepath.Join(dir, where)
				if where != "" {
					mountTest(t, served, "")
				}
				s := openTest(t, dir, Options{})
				createTest(t, s, filepath.Join(where, "f"), "1")
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if err := test.do(served); err != nil {
					t.Fatal(err)
				}
				s, err := Open(dir, Options{})
				if where != "" && err == nil {
					// Only who writes there needs it.
					known := len(s.volumes()) > 1
					if want := test.want == ""; known != want {
						t.Errorf("what was kept there is made use of: %v", known)
					}
					_, err = s.Stage(filepath.Join(where, "g"))
					if _, _, failed := s.Open(filepath.Join(where, "f")); failed != nil {
						t.Errorf("it cannot be read: %v", failed)
					}
					createTest(t, s, "of the root", "1")
				}
				if s != nil {
					defer s.Close()
				}
				if test.want == "" && err != nil || test.want != "" &&
					(err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				if err != nil && !strings.Contains(err.Error(), "link") && !errors.Is(err, iofs.ErrPermission) {
					t.Errorf("it is no question of permission: %v", err)
				}
			})
		}
	}
}

// Where there are no modes, nobody can be kept out; and it says so.
func TestStateWithoutModes(t *testing.T) {
	for _, owner := range []vfs.ID{{Known: true, N: uint32(os.Geteuid())}, {Known: true, N: nobody}} {
		dir := t.TempDir()
		for range 2 { // and what was made there before is used again
			disk, err := vfs.Open(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := open(vfs.New(modeless{disk.System(), owner}, nil), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if able := s.Abilities(); !able.Shared || !strings.Contains(able.String(), "no modes") {
				t.Errorf("of user %d: %v", owner.N, able)
			}
			createTest(t, s, "f", "1")
			removeTest(t, s, "f")
			left, err := filepath.Glob(filepath.Join(dir, volumes.OwnDir, "probe*"))
			if err != nil || len(left) > 0 {
				t.Errorf("it has left %q, %v", left, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	s := openTest(t, t.TempDir(), Options{})
	if able := s.Abilities(); able.Shared || strings.Contains(able.String(), "modes") {
		t.Errorf("where there are modes: %v", able)
	}
}

// What root makes in the state of another user, that one can go on with.
func TestRootGivesWhatItMakes(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else has anything to give
	}
	for _, first := range []bool{true, false} {
		dir := t.TempDir()
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		if !first { // somebody was there
			if err := errors.Join(os.Mkdir(filepath.Join(dir, volumes.OwnDir), 0o700),
				os.Chown(filepath.Join(dir, volumes.OwnDir), nobody, nobody)); err != nil {
				t.Fatal(err)
			}
		}
		s := openTest(t, dir, Options{History: true})
		createTest(t, s, "f", "1")
		removeTest(t, s, "f")
		unlock, err := s.Lock(t.Context())
		if err == nil {
			var staged string
			if staged, err = s.StageState([]byte("x")); err == nil {
				err = s.ReplaceState("locks", staged)
			}
			unlock()
		}
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(filepath.Join(dir, volumes.OwnDir), func(path string, d iofs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Sys().(*syscall.Stat_t).Uid != nobody &&
				!strings.Contains(path, "/r") { // not what users have made
				t.Errorf("%s is root's", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
