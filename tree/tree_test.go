package tree

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestCheckName(t *testing.T) {
	for name, good := range map[string]bool{
		"":           true,
		"a":          true,
		"a/b c/\xff": true,
		"..a/b..":    true,
		`a\b`:        true,
		"/a":         false,
		"a/":         false,
		"a//b":       false,
		".":          false,
		"a/./b":      false,
		"..":         false,
		"a/..":       false,
		"a\x00":      false,
	} {
		err := CheckName(name)
		if bad := new(BadNameError); (err == nil) != good || !good && !errors.As(err, &bad) {
			t.Errorf("CheckName(%q): %v, want good %v", name, err, good)
		}
	}
}

func TestCheckNameBoundsLengths(t *testing.T) {
	repeat := strings.Repeat
	for what, tt := range map[string]struct {
		name string
		want error
	}{
		"the longest segment":               {repeat("a", MaxSegment), nil},
		"a longer one":                      {repeat("a", MaxSegment+1), ErrNameTooLong},
		"a longer one below":                {"a/" + repeat("a", MaxSegment+1) + "/a", ErrNameTooLong},
		"the longest, of two bytes each":    {repeat("\u00e4", MaxSegment), nil},
		"one that macOS decomposes":         {repeat("\u1112\u1161\u11ab", 80), nil},
		"the longest beyond 16 bits":        {repeat("\U0001F600", MaxSegment/2), nil},
		"a longer one beyond 16 bits":       {repeat("\U0001F600", MaxSegment/2+1), ErrNameTooLong},
		"the longest that is not UTF-8":     {repeat("\xff", MaxSegment), nil},
		"a longer one that is not UTF-8":    {repeat("\xff", MaxSegment+1), ErrNameTooLong},
		"the longest name":                  {repeat("a/", MaxName/2-1) + "aa", nil},
		"a longer name":                     {repeat("a/", MaxName/2) + "a", ErrNameTooLong},
		"a longer name, bad in another way": {repeat("/", MaxName+1), ErrNameTooLong},
	} {
		if err := CheckName(tt.name); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", what, err, tt.want)
		}
	}
}

func TestSplitAndJoin(t *testing.T) {
	for _, tt := range []struct{ name, parent, base string }{
		{"", "", ""}, {"a", "", "a"}, {"a/b", "a", "b"}, {"a/b/c", "a/b", "c"},
	} {
		if parent, base := Split(tt.name); parent != tt.parent || base != tt.base {
			t.Errorf("Split(%q) = %q, %q", tt.name, parent, base)
		}
		if got := Join(tt.parent, tt.base); tt.name != "" && got != tt.name {
			t.Errorf("Join(%q, %q) = %q", tt.parent, tt.base, got)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, tt := range []struct {
		name, dir string
		want      bool
	}{
		{"a", "", true}, {"a/b", "", true}, {"", "", false},
		{"a/b", "a", true}, {"a/b/c", "a", true}, {"a", "a", false}, {"ab", "a", false}, {"a", "a/b", false}, {"", "a", false},
	} {
		if got := Below(tt.name, tt.dir); got != tt.want {
			t.Errorf("Below(%q, %q) = %v", tt.name, tt.dir, got)
		}
	}
}

func TestTagIsOfTheContentAlone(t *testing.T) {
	// The SHA-256 of nothing, in base64url without padding.
	const want = `"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"`
	if got := TagOf(sha256.Sum256(nil)); got != want {
		t.Errorf("TagOf(nothing) = %s, want %s", got, want)
	}
}

func TestSumOfATag(t *testing.T) {
	sum := sha256.Sum256([]byte("content"))
	if got, ok := SumOf(TagOf(sum)); !ok || [32]byte(got) != sum {
		t.Errorf("got %x, %v", got, ok)
	}
	for _, tag := range []ETag{"", `"`, `""`, `"short"`, `"47DEQpj8HBSa+/TImW-5JCeuQeRkm5NMpJWZG3hSuFU"`} {
		if got, ok := SumOf(tag); ok {
			t.Errorf("%s has %x", tag, got)
		}
	}
}

func TestLocksConflict(t *testing.T) {
	// RFC 4918 §6.2: the table of lock compatibility, and where two locks meet.
	exclusive := func(root string, infinite bool) Lock { return Lock{Root: root, Infinite: infinite} }
	shared := func(root string, infinite bool) Lock { return Lock{Root: root, Infinite: infinite, Shared: true} }
	for _, tt := range []struct {
		about string
		a, b  Lock
		want  bool
	}{
		{"two exclusive ones", exclusive("a", false), exclusive("a", false), true},
		{"an exclusive and a shared one", exclusive("a", false), shared("a", false), true},
		{"two shared ones", shared("a", false), shared("a", false), false},
		{"on two names", exclusive("a", false), exclusive("b", false), false},
		{"one below an infinite one", exclusive("a", true), exclusive("a/b", false), true},
		{"one below a flat one", exclusive("a", false), exclusive("a/b", false), false},
		{"a shared infinite one over a shared one", shared("", true), shared("a/b", false), false},
	} {
		if tt.a.Conflicts(tt.b) != tt.want || tt.b.Conflicts(tt.a) != tt.want {
			t.Errorf("%s: want conflict %v", tt.about, tt.want)
		}
	}
}

// TestStorageErrorIsOfOneKind, also where its cause could be taken for another one.
func TestStorageErrorIsOfOneKind(t *testing.T) {
	_, missing := os.Stat(filepath.Join(t.TempDir(), "socket"))
	for name, err := range map[string]error{
		"nothing is there":          missing,
		"no right":                  &os.PathError{Op: "open", Path: "x", Err: syscall.EACCES},
		"another kind":              ErrNoSpace,
		"an error with two of them": errors.Join(missing, fmt.Errorf("%w and %w", ErrTooLarge, ErrLink)),
	} {
		err = fmt.Errorf("PUT: %w", &StorageError{Kind: ErrUnavailable, Err: fmt.Errorf("dial: %w", errors.Join(err, io.EOF))})
		for _, kind := range []error{
			ErrNotExist, ErrExist, ErrPermission, ErrLink, ErrNoSpace, ErrTooLarge, ErrChanged, ErrUnavailable,
		} {
			if got, want := errors.Is(err, kind), kind == ErrUnavailable; got != want {
				t.Errorf("%s: it is %q: %v", name, kind, got)
			}
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: its cause is not found", name)
		}
	}
	at := new(os.PathError)
	if err := error(&StorageError{Kind: ErrFailed, Err: missing}); !errors.As(err, &at) || at.Op != "stat" {
		t.Errorf("the cause of %v is %v", err, at)
	}
	for _, cause := range []error{nil, io.EOF} {
		if err := error(&StorageError{Kind: ErrLink, Err: cause}); !errors.Is(err, ErrPermission) {
			t.Errorf("%v has lost the kind of its kind", err)
		}
	}
}
