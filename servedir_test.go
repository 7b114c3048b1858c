package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/shares/layout"
)

func TestMissingMount(t *testing.T) {
	const fstab = `
# <file system> <mount point> <type> <options>
UUID=1 / ext4 defaults 0 1
UUID=2 /mnt/disk ext4 nofail 0 2
UUID=3 /mnt/with\040space ext4 nofail 0 2
//nas/x	/srv/nas/	cifs	nofail	0	0
UUID=4 none swap sw 0 0
#UUID=5 /mnt/comment ext4 nofail 0 2
/mnt/broken
`
	mounts := func(at ...string) string {
		all := ""
		for _, name := range append(at, "/", "/proc") {
			all += "36 35 98:0 /mnt1 " + name + " rw,noatime master:1 - ext3 /dev/root rw\n"
		}
		return all
	}
	for _, test := range []struct{ dir, mounted, want string }{
		{"/mnt/disk", mounts(), "/mnt/disk"},
		{"/mnt/disk/files", mounts(), "/mnt/disk"},
		{"/mnt/disk", mounts("/mnt/disk"), ""},
		{"/mnt/disk/files", mounts("/mnt/disk"), ""},
		{"/mnt/disks", mounts(), ""},
		{"/mnt", mounts(), ""},
		{"/mnt/with space/x", mounts(), "/mnt/with space"},
		{"/mnt/with space/x", mounts(`/mnt/with\040space`), ""},
		{"/srv/nas", mounts(), "/srv/nas"},
		{"/srv/nas", mounts("/srv/nas"), ""},
		{"/mnt/comment", mounts(), ""},
		{"/mnt/broken", mounts(), ""},
		{"/home/me", mounts(), ""},
	} {
		if got := missingMount(test.dir, fstab, test.mounted); got != test.want {
			t.Errorf("missingMount(%q) = %q, want %q; mounted is\n%s", test.dir, got, test.want, test.mounted)
		}
	}
}

// A client that syncs from a directory whose disk is missing deletes its own files.
func TestDoubts(t *testing.T) {
	dir := t.TempDir()
	says := func(cfg Config, want string) {
		t.Helper()
		got := strings.Join(doubts(cfg), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%+v: it says %q, want %q", cfg, got, want)
		}
	}
	says(Config{Dir: dir}, "the directory is empty and was never served")
	says(Config{Config: handler.Config{ReadOnly: true}, Dir: dir}, "the directory is empty and was never served")
	says(Config{Memory: true}, "")
	says(Config{Dir: filepath.Join(dir, "nowhere")}, "")
	if err := os.Mkdir(filepath.Join(dir, stateName), 0o700); err != nil {
		t.Fatal(err)
	}
	says(Config{Dir: dir}, "")
}

func TestRefuseRoot(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/", link); err != nil {
		t.Skip("NOT RUN: no symbolic links here")
	}
	for _, test := range []struct {
		cfg     Config
		refused bool
	}{
		{Config{Dir: "/"}, true},
		{Config{Dir: "/.."}, true},
		{Config{Dir: link}, true},
		{Config{Config: handler.Config{ReadOnly: true}, Dir: "/"}, true},
		{Config{Dir: "/", WholeSystem: true}, false},
		{Config{Dir: "/", Memory: true}, false},
		{Config{Dir: t.TempDir()}, false},
		{Config{Dir: "/nowhere/at/all"}, false},
	} {
		err := refuseRoot(test.cfg)
		if (err != nil) != test.refused || err != nil && (exitCode(err) != statusTrouble || !strings.Contains(err.Error(), "--whole-system")) {
			t.Errorf("%+v: %v", test.cfg, err)
		}
	}
}

// The bound of --cache-memory is that of the whole server, however many shares it has.
func TestSharesDivideTheMemory(t *testing.T) {
	tests := []struct{ memory, each int64 }{
		{64 << 20, 16 << 20},
		{3, 1},   // 0 would be the default
		{-1, -1}, // no contents
		{0, 0},   // the default of the index
	}
	for _, test := range tests {
		cfg := Config{CacheMemory: test.memory, Shares: make([]layout.Share, 4)}
		for _, one := range cfg.directories() {
			if one.CacheMemory != test.each {
				t.Errorf("with %d bytes for four shares, one has %d; want %d", test.memory, one.CacheMemory, test.each)
			}
		}
		if one := (Config{CacheMemory: test.memory}).directories()[0]; one.CacheMemory != test.memory {
			t.Errorf("with %d bytes for one directory, it has %d", test.memory, one.CacheMemory)
		}
	}
}
