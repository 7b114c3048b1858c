//go:build unix

package handler

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ifmatch/etagfs"
	"ifmatch/fs"
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
