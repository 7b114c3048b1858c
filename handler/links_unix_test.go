//go:build unix

package handler

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
)

// TestSymbolicLinksLeadOutOfNoShareLink: what a link on the disk leads to outside of the folder is not there, and not listed.
func TestSymbolicLinksLeadOutOfNoShareLink(t *testing.T) {
	dir := t.TempDir()
	store := storeOn(t, dir, fs.Options{Durability: fs.None}, etagfs.Options{})
	lay(t, store, "docs/", "docs/d/", "docs/d/b=b", "docs/a.txt=hello")
	for name, target := range map[string]string{"out": "../a.txt", "up": "..", "far": "/etc/passwd", "in": "b"} {
		if err := os.Symlink(target, filepath.Join(dir, "docs", "d", name)); err != nil {
			t.Fatal(err)
		}
	}
	l := openLinked(t, sharedRules, Config{Store: store})
	href, _ := l.make("ann", "/docs/d/")
	for _, below := range []string{"/out", "/up", "/up/a.txt", "/far"} {
		l.want(404, "GET", href+below, "")
	}
	l.want(200, "GET", href+"/in", "")
	list := l.want(200, "GET", href+"/", "").Body.String()
	for name, want := range map[string]bool{"in": true, "b": true, "out": false, "up/": false, "far": false} {
		if got := strings.Contains(list, ">"+name+"</a>"); got != want {
			t.Errorf("%s is listed: %v", name, got)
		}
	}
}

// TestDropIntoALinkOnTheDisk: where the folder has become a symbolic link, nothing is there, whatever the name.
func TestDropIntoALinkOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	store := storeOn(t, dir, fs.Options{Durability: fs.None}, etagfs.Options{})
	lay(t, store, "docs/", "docs/d/", "docs/e/", "docs/e/taken=x", "docs/up/", "docs/up/d/")
	l := openLinked(t, sharedRules, Config{Store: store})
	folder, _ := l.make("ann", "/docs/d/", "access", "drop")
	below, _ := l.make("ann", "/docs/up/d/", "access", "drop")
	l.want(201, "PUT", folder+"/f", "f")
	l.want(201, "PUT", below+"/f", "f")
	l.want(412, "PUT", below+"/f", "f")
	for name, target := range map[string]string{"d": "e", "up": "."} {
		name = filepath.Join(dir, "docs", name)
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, href := range []string{folder, below} {
		l.want(404, "PUT", href+"/new", "x")
		l.want(404, "PUT", href+"/taken", "x")
		l.want(404, "GET", href, "")
	}
	if members, err := os.ReadDir(filepath.Join(dir, "docs", "e")); err != nil || len(members) != 1 {
		t.Errorf("behind the link are %v, %v", members, err)
	}
}
