package main

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"ifmatch/fs"
)

// welcome tells a person, in a few lines, where the server is, what to do with it, and what it can promise here. The
// first line is also for programs that have to find the address: it does not change.
func welcome(w io.Writer, cfg Config, addr net.Addr, below *fs.FS) {
	var b strings.Builder
	what := "memory"
	if !cfg.Memory {
		what = cfg.Dir
		if abs, err := filepath.Abs(cfg.Dir); err == nil {
			what = abs
		}
	}
	here := localURL(cfg, addr)
	fmt.Fprintf(&b, "ifmatch: serving %s at %s\n", what, here)
	say := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-9s "+format+"\n", append([]any{label}, args...)...)
	}

	there := here
	if len(cfg.PublicURLs) > 0 {
		there = publicURL(cfg)
	}
	if cfg.ReadOnly {
		say("try:", "curl %s", there)
	} else {
		say("try:", "curl -T FILE %s", there)
	}
	say("mount:", "sudo mount -t davfs %s /mnt", there)
	say("copy:", "rclone copy LOCALDIR :webdav: --webdav-vendor owncloud --webdav-url %s", there)
	if cfg.ReadOnly {
		say("disk:", "read-only, nothing is written to it")
	} else {
		say("disk:", "%v", below.Abilities())
		say("writes:", "durability %v", cfg.Durability)
	}

	warn := func(format string, args ...any) { say("warning:", format, args...) }
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && !cfg.ReadOnly {
		warn("everyone who can reach %v may read, write and delete", addr)
	}
	if !cfg.ReadOnly && !cfg.Memory {
		if !below.Abilities().Flock {
			warn("this disk has no file locks: start no second server on this directory")
		}
		if cfg.Durability == fs.None {
			warn("what is written last may be lost when the power fails (--durability none)")
		}
	}
	io.WriteString(w, b.String())
}

// localURL is where the server can be reached on this machine.
func localURL(cfg Config, addr net.Addr) string {
	u := url.URL{Scheme: "http", Host: addr.String(), Path: cfg.Prefix + "/"}
	if cfg.TLSCert != "" {
		u.Scheme = "https"
	}
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		u.Host = fmt.Sprintf("127.0.0.1:%d", tcp.Port) // an address that means all is none to connect to
	}
	return u.String()
}

// publicURL is where clients reach the server.
func publicURL(cfg Config) string {
	u := *cfg.PublicURLs[0]
	u.Path, u.RawPath = cfg.Prefix+"/", ""
	return u.String()
}
