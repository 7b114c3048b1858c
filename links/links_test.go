package links

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func madeOf(t *testing.T, w Wish) (Link, string) {
	t.Helper()
	l, token, err := New(w, now)
	if err != nil {
		t.Fatal(err)
	}
	return l, token
}

func wish(maker, name string) Wish {
	return Wish{Maker: maker, Name: name, Access: Read, Expires: now.Add(time.Hour)}
}

// TestNamesOfLinksAreAnyBytes: what is written is read again, whatever the name.
func TestNamesOfLinksAreAnyBytes(t *testing.T) {
	for _, name := range []string{"", "a", "a b/c", "\xff\xfe/é", "100%/a?b#c", "a\nb", `"`, "<&>"} {
		l, _ := madeOf(t, wish("ann", name))
		list := &List{bySum: map[string]*Link{}}
		list.add(&l)
		again, err := Parse(list.String())
		if err != nil || len(again.all) != 1 || again.all[0].Name() != name || *again.all[0] != l {
			t.Errorf("%q: %v, %+v", name, err, again)
		}
	}
}

// TestFilesThatAreNoLinks: a line that cannot be meant makes the file useless, and gives nobody anything.
func TestFilesThatAreNoLinks(t *testing.T) {
	l, _ := madeOf(t, wish("ann", "a"))
	list := &List{bySum: map[string]*Link{}}
	list.add(&l)
	line := list.String()
	if _, err := Parse(line + "\n"); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"no JSON":        "x\n",
		"two in a line":  strings.TrimSuffix(line, "\n") + line,
		"twice":          line + line,
		"no path":        strings.Replace(line, `"/a"`, `"a"`, 1),
		"a way up":       strings.Replace(line, `"/a"`, `"/../a"`, 1),
		"a slash":        strings.Replace(line, `"/a"`, `"/b%2Fa"`, 1),
		"a bad escape":   strings.Replace(line, `"/a"`, `"/%zz"`, 1),
		"another access": strings.Replace(line, `"read"`, `"write"`, 1),
		"an empty maker": strings.Replace(line, `"ann"`, `""`, 1),
		"no user":        strings.Replace(line, `"ann"`, `"anonymous"`, 1),
		"no expiry":      strings.Replace(line, `"expires":"2030`, `"expired":"2030`, 1),
		"another key":    strings.Replace(line, `{`, `{"admin":true,`, 1),
		"a bad sum":      strings.Replace(line, l.SHA256, strings.ToUpper(l.SHA256[:60])+"XXXX", 1),
		"a short sum":    strings.Replace(line, l.SHA256, l.SHA256[2:], 1),
		"a bad password": strings.Replace(line, `"sha256"`, `"password":"plain","sha256"`, 1),
		"a bad label":    strings.Replace(line, `"sha256"`, `"label":"a\u0000b","sha256"`, 1),
		"a bad id":       strings.Replace(line, l.ID, "A/b", 1),
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s: %s", what, text)
		}
	}
}

// TestBoundsOfLinks: each number and length has one.
func TestBoundsOfLinks(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	list := &List{bySum: map[string]*Link{}}
	for i := range MaxLinks - 1 {
		l, _ := madeOf(t, wish(fmt.Sprintf("u%d", i/(MaxOfMaker-1)), "a"))
		l.ID = "a" + strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprint(i))
		list.add(&l)
	}
	if err := os.WriteFile(File(users), []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		maker string
		want  error
	}{{"u0", nil}, {"u1", ErrTooMany}} { // there is one place, which is taken then
		l, _ := madeOf(t, wish(tt.maker, "a"))
		if err := add(fileEditor(users), l, now); !errors.Is(err, tt.want) {
			t.Errorf("one more of %s: %v, want %v", tt.maker, err, tt.want)
		}
	}
	if gone, err := revoke(fileEditor(users), "u2", "", now); err != nil || len(gone) != MaxOfMaker-1 {
		t.Errorf("%d links of u2 are revoked, %v", len(gone), err)
	}
	l, _ := madeOf(t, wish("u0", "a"))
	if err := add(fileEditor(users), l, now); !errors.Is(err, ErrTooMany) {
		t.Errorf("more than %d of one maker: %v", MaxOfMaker, err)
	}
	if err := add(fileEditor(users), l, now.Add(2*time.Hour)); err != nil { // the others have expired
		t.Error(err)
	}
	if left, err := ReadList(users); err != nil || len(left.Of("")) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	for what, w := range map[string]Wish{
		"past": {Maker: "ann", Access: Read, Expires: now}, "far": {Maker: "ann", Access: Read, Expires: now.Add(MaxExpiry + time.Second)},
		"label": {Maker: "ann", Access: Read, Expires: now.Add(time.Hour), Label: strings.Repeat("x", MaxLabel+1)},
		"name":  {Maker: "ann", Access: Read, Expires: now.Add(time.Hour), Name: strings.Repeat("x", 5000)},
		"dots":  {Maker: "ann", Access: Read, Expires: now.Add(time.Hour), Name: "a/../b"},
		"user":  {Access: Read, Expires: now.Add(time.Hour)}, "access": {Maker: "ann", Expires: now.Add(time.Hour)},
	} {
		if _, _, err := New(w, now); err == nil {
			t.Errorf("%s: a link is made of %+v", what, w)
		}
	}
}

// TestLinksOfManyWriters: none that was made is lost, whoever makes others at the same time.
func TestLinksOfManyWriters(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 2 {
				l, _, err := New(wish(fmt.Sprint("u", i), "a"), now)
				if err == nil {
					err = add(fileEditor(users), l, now)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if list, err := ReadList(users); err != nil || len(list.Of("")) != 8 || len(list.Of("u3")) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestBookSeesEachChange: also those of other processes, at once, and within the time that a date of a file is worth.
func TestBookSeesEachChange(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	clock := now
	book := NewBook(func() string { return users }, nil, func() time.Time { return clock })
	l, token := madeOf(t, wish("ann", "a"))
	has := func(want bool) {
		t.Helper()
		found, err := book.Find(token)
		if err != nil || (found != nil) != want || book.Has(&l) != want {
			t.Errorf("found: %v, %v; there: %v; want %v", found, err, book.Has(&l), want)
		}
	}
	has(false)
	for range 3 { // within the second
		if err := add(fileEditor(users), l, now); err != nil {
			t.Fatal(err)
		}
		has(true)
		if _, err := revoke(fileEditor(users), "ann", l.ID, now); err != nil {
			t.Fatal(err)
		}
		has(false)
	}
	if err := add(fileEditor(users), l, now); err != nil {
		t.Fatal(err)
	}
	// In place, of the same length, with the old date, which is so late that it proves nothing.
	late := time.Now().Add(time.Hour)
	text, err := os.ReadFile(File(users))
	if err == nil {
		err = os.Chtimes(File(users), late, late)
	}
	has(true)
	if err == nil {
		err = errors.Join(os.WriteFile(File(users), []byte(strings.Replace(string(text), `"ann"`, `"bob"`, 1)), 0o600),
			os.Chtimes(File(users), late, late))
	}
	if err != nil {
		t.Fatal(err)
	}
	if found, err := book.Find(token); err != nil || found == nil || found.Maker != "bob" || book.Has(&l) {
		t.Errorf("%+v, %v: the change is not seen", found, err)
	}
	clock = now.Add(time.Hour)
	has(false)
	os.Remove(File(users))
	clock = now
	has(false)
	users = ""
	has(false)
}

// TestPrincipalOfALink has the effects of the link, on its names alone.
func TestPrincipalOfALink(t *testing.T) {
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte("ann:*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	authority, err := auth.Open(auth.Options{Users: users})
	if err != nil {
		t.Fatal(err)
	}
	for access, want := range map[Access]auth.Effects{Read: auth.List | auth.Read, Drop: auth.Create} {
		w := wish("ann", "a/b")
		w.Access = access
		l, _ := madeOf(t, w)
		rights := authority.Now().Access(l.Principal())
		for name, inside := range map[string]bool{"a/b": true, "a/b/c": true, "a": false, "": false, "a/bc": false, "a/c": false, "b": false} {
			granted := auth.None
			if inside {
				granted = want
			}
			if got := rights.Effects(name); got != granted || rights.Subtree(name) != granted || rights.MayIn(name, auth.All) != inside ||
				rights.Seen(name) != (inside && access == Read) {
				t.Errorf("%s on %q: %v, %v, seen: %v; want %v", access, name, got, rights.Subtree(name), rights.Seen(name), granted)
			}
		}
		l.Maker = "bob"
		gone := authority.Now().Access(l.Principal())
		if gone.Effects("a/b") != auth.None || gone.Seen("a/b") {
			t.Errorf("a maker who is no user has %v", gone.Effects("a/b"))
		}
	}
}

// TestFailuresOfTheFile: a client is told whose turn it is, and the cause is for the log.
func TestFailuresOfTheFile(t *testing.T) {
	for cause, kind := range map[error]error{
		syscall.EACCES: tree.ErrUnavailable, syscall.EPERM: tree.ErrUnavailable, syscall.EROFS: tree.ErrUnavailable,
		syscall.ENOSPC: tree.ErrNoSpace, syscall.EDQUOT: tree.ErrNoSpace, auth.ErrEdited: tree.ErrBusy,
	} {
		err := inWords(fmt.Errorf("users.links: %w", cause))
		told := new(tree.StorageError)
		if !errors.Is(err, kind) || !errors.Is(err, cause) || !errors.As(err, &told) || !strings.Contains(told.Hint, "nothing has") {
			t.Errorf("%v becomes %v", cause, err)
		}
	}
	if err := inWords(os.ErrInvalid); err != os.ErrInvalid {
		t.Errorf("another error becomes %v", err)
	}
}

// TestCheckKept: it finds what a change would fail of, and leaves nothing.
func TestCheckKept(t *testing.T) {
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	if err := CheckKept(users); err != nil {
		t.Error(err)
	}
	if err := CheckKept(filepath.Join(dir, "none", "users")); err == nil {
		t.Error("links are kept in a directory that is not there")
	}
	if err := os.WriteFile(File(users), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckKept(users); err == nil {
		t.Error("links are kept in a file that cannot be read")
	}
	if members, err := os.ReadDir(dir); err != nil || len(members) != 1 {
		t.Errorf("it leaves %v, %v", members, err)
	}
}
