package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"ifmatch/fs"
)

// welcome tells a person, in a few lines, where the server is, what to do with it, what it can promise here, and what there
// is to mind. The first line is also for programs that have to find the address: it does not change, and comes whatever is
// to be logged. The others are no more than that: as JSON they are records, and what is below the level is left out.
func welcome(w io.Writer, log *slog.Logger, cfg Config, addr net.Addr, below *fs.FS, doubts []string) {
	what := "memory"
	if !cfg.Memory {
		what = cfg.Dir
		if abs, err := filepath.Abs(cfg.Dir); err == nil {
			what = abs
		}
	}
	here := localURL(cfg, addr)
	var b strings.Builder
	fmt.Fprintf(&b, "ifmatch: serving %s at %s\n", what, here)
	there := here
	if len(cfg.PublicURLs) > 0 {
		there = publicURL(cfg)
	}
	disk, writes := promises(cfg, below)
	warnings := append(doubts, dangers(cfg, addr, below)...)
	info := log.Enabled(context.Background(), slog.LevelInfo)
	say := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", label, text)
		}
	}
	if info && !cfg.LogJSON {
		for _, line := range uses(cfg, there) {
			say(line[0], line[1])
		}
		say("disk:", disk)
		say("writes:", writes)
	}
	if log.Enabled(context.Background(), slog.LevelWarn) && !cfg.LogJSON {
		for _, warning := range warnings {
			say("warning:", warning)
		}
	}
	io.WriteString(w, b.String())
	if cfg.LogJSON {
		log.Info("serving", "dir", what, "url", there, "disk", disk, "writes", writes)
		for _, warning := range warnings {
			log.Warn(warning)
		}
	}
}

// uses are what can be done with the server, each with its label.
func uses(cfg Config, at string) [][2]string {
	if cfg.ReadOnly {
		return [][2]string{
			{"try:", "curl " + at},
			{"mount:", "sudo mount -t davfs -o ro " + at + " /mnt"},
			{"copy:", "rclone copy :webdav: LOCALDIR --webdav-vendor owncloud --webdav-url " + at},
		}
	}
	return [][2]string{
		{"try:", "curl -T FILE " + at},
		{"mount:", "sudo mount -t davfs " + at + " /mnt"},
		{"copy:", "rclone copy LOCALDIR :webdav: --webdav-vendor owncloud --webdav-url " + at},
	}
}

// promises say what the disk can do, and what is on it before a write is acknowledged, where there is one and it is written
// to.
func promises(cfg Config, below *fs.FS) (disk, writes string) {
	switch {
	case cfg.ReadOnly:
		return "read-only, nothing is written to it", ""
	case cfg.Memory:
		return below.Abilities().String(), ""
	}
	return below.Abilities().String(), "durability " + cfg.Durability.String()
}

// dangers are what there is to mind.
func dangers(cfg Config, addr net.Addr, below *fs.FS) (all []string) {
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && !cfg.ReadOnly {
		all = append(all, fmt.Sprintf("everyone who can reach %v may read, write and delete", addr))
	}
	if cfg.Memory {
		return all
	}
	if os.Geteuid() == 0 {
		all = append(all, "this runs as root, for whom the permissions of files do not count: "+
			"start it as a user who owns what is served; it needs no more")
	}
	if cfg.ReadOnly {
		return all
	}
	if !below.Abilities().Flock {
		all = append(all, "this disk has no file locks: start no second server on this directory")
	}
	if cfg.Durability == fs.None {
		all = append(all, "what is written last may be lost when the power fails (--durability none)")
	}
	return all
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
