package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/metadata"
	"r-seed-1f3a754f.example/ifmatch/fs/posixacl"
	"r-seed-1f3a754f.example/ifmatch/fs/posixacl/acltest"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

func traits(mode iofs.FileMode) metadata.Traits {
	return metadata.Traits{Mode: mode}.WithProperties([]byte("x"))
}

// put replaces or makes a file as the store does.
func put(t *testing.T, s *FS, name string) {
	t.Helper()
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	st, err := s.Stage("f")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Discard()
	info, err := s.Lstat(name)
	var with metadata.Traits
	if errors.Is(err, iofs.ErrNotExist) {
		with, _, err = metadata.OfNew(s.At(name))
	} else if err == nil {
		with, err = s.Traits(name)
	}
	if err == nil {
		err = st.Annotate(Meta{Traits: with})
	}
	if err == nil {
		err = s.Commit(st, name, info, How{})
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

func attr(name, attribute string) string {
	value := make([]byte, 256)
	n, err := unix.Lgetxattr(name, attribute, value)
	if err != nil {
		return err.Error()
	}
	return string(value[:n])
}

// A file that is replaced keeps what it has, but nothing that would lend powers to new content.
func TestReplacedKeeps(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=old")
	s := openTest(t, dir, Options{})
	file := filepath.Join(dir, "f")
	mine := map[string]string{
		volumes.PropertiesAttr: "[]",
		"user.colour":          "green",
		posixacl.Access:        string(acltest.Of(t, "u:rw u7:rw g:r m:rw o:-")),
		"user.ifmatch.future":  "about the content",
	}
	root := os.Geteuid() == 0
	if root {
		mine["trusted.note"] = "root's"
		mine["security.capability"] = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		if err := os.Chown(file, 7, 8); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range mine {
		if err := unix.Lsetxattr(file, name, []byte(value), 0); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if err := unix.Chmod(file, 0o6760); err != nil {
		t.Fatal(err)
	}
	before, err := s.Lstat("f")
	if err != nil {
		t.Fatal(err)
	}
	mine[posixacl.Access] = attr(file, posixacl.Access)
	put(t, s, "f")
	after, err := s.Lstat("f")
	if err != nil {
		t.Fatal(err)
	}
	if after.SameFile(before) || after.User != before.User || after.Group != before.Group || after.Mode != 0o760 {
		t.Errorf("was %+v\nis  %+v", before, after)
	}
	for name, value := range mine {
		got := attr(file, name)
		if name == "security.capability" || name == "user.ifmatch.future" {
			if got == value {
				t.Errorf("%s is kept", name)
			}
		} else if got != value {
			t.Errorf("%s was %q, is %q", name, value, got)
		}
	}
}

// Who may not give a file away replaces it all the same, and lets in nobody who was kept out.
func TestReplacedBelongsToAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make files of others; those of the one user there is are kept as they are")
	}
	asNobody(t, func(dir string) {
		lay(t, dir, "theirs=old", "shared=old")
		const group = 8
		if root := os.Geteuid() == 0; root {
			// One thread may go there and back.
			me, _ := unix.SetfsuidRetUid(0)
			err := errors.Join(
				unix.Chown(filepath.Join(dir, "theirs"), 7, group),
				unix.Chown(filepath.Join(dir, "shared"), 7, group))
			unix.SetfsuidRetUid(me)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() {
				for name, want := range map[string]string{"theirs": "-rw-r--r--", "shared": "-rw-rw----"} {
					fi, err := os.Stat(filepath.Join(dir, name))
					if err != nil || fi.Mode().String() != want {
						t.Errorf("%s: got %v, want %s, error %v", name, fi.Mode(), want, err)
					}
				}
				want := string(acltest.Of(t, "u:rw u65534:rw g:- m:rw o:-"))
				if got := attr(filepath.Join(dir, "shared"), posixacl.Access); got != want {
					t.Errorf("got the ACL %x", got)
				}
			}()
			me, _ = unix.SetfsuidRetUid(0)
			err = errors.Join(
				unix.Chmod(filepath.Join(dir, "theirs"), 0o6664),
				unix.Lsetxattr(filepath.Join(dir, "shared"), posixacl.Access, acltest.Of(t, "u:rw u65534:rw g:rw m:rw o:-"),
					0))
			unix.SetfsuidRetUid(me)
			if err != nil {
				t.Error(err)
				return
			}
		}
		s, err := Open(dir, Options{})
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		put(t, s, "theirs")
		put(t, s, "shared")
	})
}

// A new file begins with what the directory passes on, though it is made elsewhere; and the directory of the server's
// own state does not count.
func TestNewBeginsWith(t *testing.T) {
	for _, test := range []struct {
		name       string
		top, dir   string // default ACLs
		setgid     bool   // the directory
		opts       Options
		want       iofs.FileMode
		wantACL    string
		wantDir    iofs.FileMode
		wantDirACL string
	}{
		{name: "by the umask", want: 0o640, wantDir: 0o750},
		{name: "by the options", opts: Options{FileMode: 0o606, DirMode: 0o775}, want: 0o606, wantDir: 0o775},
		{name: "by the options and a directory's group", opts: Options{FileMode: 0o606, DirMode: 0o775}, setgid: true,
			want: 0o606, wantDir: 0o775 | iofs.ModeSetgid},
		{name: "with a directory's group", setgid: true, want: 0o640, wantDir: 0o750 | iofs.ModeSetgid},
		{name: "with an ACL", dir: "u:rwx u7:rwx g:rx m:rwx o:rx", want: 0o664, wantACL: "u:rw u7:rwx g:rx m:rw o:r",
			wantDir: 0o775, wantDirACL: "u:rwx u7:rwx g:rx m:rwx o:rx"},
		{name: "with an ACL and the options", dir: "u:rwx u7:rwx g:rx m:rwx o:rx",
			opts: Options{FileMode: 0o640, DirMode: 0o750},
			want: 0o640, wantACL: "u:rw u7:rwx g:rx m:r o:-", wantDir: 0o750, wantDirACL: "u:rwx u7:rwx g:rx m:rx o:-"},
		{name: "with the ACL of the top, which is not above", top: "u:rwx u7:rwx g:rwx m:rwx o:rwx", want: 0o640,
			wantDir: 0o750},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer unix.Umask(unix.Umask(0o027))
			top := t.TempDir()
			lay(t, top, "d/")
			dir := filepath.Join(top, "d")
			group := uint32(os.Getegid())
			mode := uint32(0o755)
			if test.setgid {
				mode |= unix.S_ISGID
				if os.Geteuid() == 0 {
					group = 8
				}
				if err := os.Chown(dir, -1, int(group)); err != nil {
					t.Fatal(err)
				}
			}
			if err := unix.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{top: test.top, dir: test.dir} {
				if text != "" {
					if err := unix.Lsetxattr(name, posixacl.Default, acltest.Of(t, text), 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			s := openTest(t, top, test.opts)
			put(t, s, "d/f")
			f, err := s.Lstat("d/f")
			if err != nil || f.Mode != test.want || f.Group.N != group {
				t.Errorf("a file: %+v, error %v", f, err)
			}
			none := unix.ENODATA.Error()
			wantACL := func(name, attribute, want string) {
				t.Helper()
				if want != "" {
					want = string(acltest.Of(t, want))
				} else {
					want = none
				}
				if got := attr(filepath.Join(dir, name), attribute); got != want {
					t.Errorf("%s of %s is %x, want %x", attribute, name, got, want)
				}
			}
			wantACL("f", posixacl.Access, test.wantACL)
			if err := s.At("d/e").Mkdir(time.Time{}); err != nil {
				t.Fatal(err)
			}
			e, err := s.Lstat("d/e")
			if err != nil || e.Mode != test.wantDir || e.Group.N != group {
				t.Errorf("a directory: %+v, error %v", e, err)
			}
			wantACL("e", posixacl.Access, test.wantDirACL)
			wantACL("e", posixacl.Default, test.dir)
		})
	}
}
