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

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/listen"
	"r-seed-1f3a754f.example/ifmatch/shares/layout"
)

// printBanner prints a few lines: the address, commands to try, the guarantees that hold on this disk, and warnings.
// The first line is also for programs that need the address: its form never changes, and no log level hides it. The
// others are log records in JSON, and the log level hides them.
func printBanner(
	w io.Writer, log *slog.Logger, cfg Config, addr net.Addr, able capabilities, doubts []string,
) {
	dir := servedName(cfg)
	local := localURL(cfg, addr)
	var b strings.Builder
	fmt.Fprintf(&b, "ifmatch: serving %s at %s\n", dir, local)
	public := local
	if len(cfg.PublicURLs) > 0 {
		public = publicURL(cfg)
	}
	disk, writes := guarantees(cfg, able)
	if len(cfg.Shares) > 0 && !cfg.ReadOnly {
		disk = "" // the log tells that of each share
	}
	warnings := append(doubts, warnings(cfg, addr, able)...)
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", label, text)
		}
	}
	if log.Enabled(context.Background(), slog.LevelInfo) && !cfg.LogJSON {
		for i, share := range cfg.Shares {
			if i == mostOpen {
				line("share:", fmt.Sprintf("and %d more (see: ifmatch config show)", len(cfg.Shares)-i))
				break
			}
			line("share:", "/"+share.Path+" is "+share.Dir)
		}
		for _, use := range examples(cfg, public) {
			line(use[0], use[1])
		}
		for _, one := range siteLines(cfg, addr) {
			line("site:", one)
		}
		if cfg.Auth != nil {
			for _, open := range openTo(cfg.Auth) {
				line(open[0], open[1])
			}
		}
		line("disk:", disk)
		line("writes:", writes)
	}
	if log.Enabled(context.Background(), slog.LevelWarn) && !cfg.LogJSON {
		for _, warning := range warnings {
			line("warning:", warning)
		}
	}
	io.WriteString(w, b.String())
	if cfg.LogJSON {
		log.Info("serving", "dir", dir, "url", public, "disk", disk, "writes", writes)
		logBanner(log, cfg, addr, warnings)
	}
}

// servedName names the served directory in a few words.
func servedName(cfg Config) string {
	switch {
	case len(cfg.Shares) > 0:
		return fmt.Sprintf("%d shares", len(cfg.Shares))
	case cfg.Database != "":
		return "a database"
	case cfg.Memory:
		return "memory"
	}
	if abs, err := filepath.Abs(cfg.Dir); err == nil {
		return abs
	}
	return cfg.Dir
}

// logBanner writes the sites, the open parts and the warnings of the banner to a log for programs.
func logBanner(log *slog.Logger, cfg Config, addr net.Addr, warnings []string) {
	for _, one := range siteLines(cfg, addr) {
		log.Info("site", "text", one)
	}
	if cfg.Auth != nil {
		for _, open := range openTo(cfg.Auth) {
			log.Info(strings.TrimSuffix(open[0], ":"), "text", open[1])
		}
	}
	for _, warning := range warnings {
		log.Warn(warning)
	}
}

// examples are commands to try on the server, each with a label.
func examples(cfg Config, url string) [][2]string {
	if path, ok := strings.CutPrefix(url, listen.UnixPrefix); ok {
		return [][2]string{{"try:", "curl --unix-socket " + path + " http://localhost" + cfg.Prefix + "/"}}
	}
	if len(cfg.Shares) > 0 {
		url += escapedPath(cfg.Shares[0]) + "/"
	}
	login := ""
	if cfg.Auth != nil && cfg.Auth.Now().HasUsers() {
		login = "-u NAME "
	}
	if cfg.ReadOnly {
		return [][2]string{
			{"try:", "curl " + login + url},
			{"mount:", "sudo mount -t davfs -o ro " + url + " /mnt"},
			{"copy:", "rclone copy :webdav: LOCALDIR --webdav-vendor owncloud --webdav-url " + url},
		}
	}
	return [][2]string{
		{"try:", "curl " + login + "-T FILE " + url},
		{"mount:", "sudo mount -t davfs " + url + " /mnt"},
		{"copy:", "rclone copy LOCALDIR :webdav: --webdav-vendor owncloud --webdav-url " + url},
	}
}

// siteLines says which sites are shown where, and with which rights their scripts run.
func siteLines(cfg Config, addr net.Addr) (lines []string) {
	urls := cfg.siteURLs(addr)
	for i, one := range cfg.Sites {
		if i == mostOpen {
			return append(lines, fmt.Sprintf("and %d more (see: ifmatch config show)", len(cfg.Sites)-i))
		}
		if one.Host == "" {
			lines = append(lines, "/"+one.Path+" at its own path; its pages run without a sandbox, and can read all that is "+
				"served")
			continue
		}
		lines = append(lines, "/"+one.Path+" at "+urls[0].String()+", where nothing else is; its pages run without a sandbox")
		urls = urls[1:]
	}
	return lines
}

// escapedPath returns the escaped path of a share, without slashes around it.
func escapedPath(share layout.Share) string { return (&url.URL{Path: share.Path}).EscapedPath() }

// guarantees returns the capabilities of the disk, and the durability of writes to it. It returns "" for the
// durability if there are no writes, or no disk.
func guarantees(cfg Config, able capabilities) (disk, writes string) {
	switch {
	case cfg.Database != "":
		return "PostgreSQL, shared by all replicas", "as durable as the database is"
	case cfg.ReadOnly:
		return "read-only, nothing is written to it", ""
	case cfg.Memory:
		return able.String(), ""
	}
	return able.String(), "durability " + cfg.Durability.String()
}

// linksNotKept tells why users can make no share links.
func linksNotKept(cfg Config) []string {
	users := cfg.Auth.Now().UsersFile()
	if users == "" || cfg.NoLinks || cfg.shared.links != nil {
		return nil
	}
	err := links.CheckKept(users)
	if err == nil {
		return nil
	}
	return []string{"users can make and revoke no share links, which are kept beside the users file: " + err.Error() + ": let the " +
		"server write there, or start it with --no-links"}
}

func warnings(cfg Config, addr net.Addr, able capabilities) (all []string) {
	if cfg.Auth != nil {
		all = append(all, cfg.Auth.Now().Doubts()...)
		all = append(all, linksNotKept(cfg)...)
	}
	const writes = auth.Create | auth.Replace | auth.Remove
	open := cfg.Auth == nil || cfg.Auth.Now().AnonymousMay()&writes != 0
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && !cfg.ReadOnly && open {
		all = append(all, fmt.Sprintf("every machine that can reach %v may read, write and delete", addr))
	}
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && !cfg.secure() && cfg.Auth != nil &&
		cfg.Auth.Now().HasUsers() {
		switch {
		case cfg.Access.InsecureBasic:
			all = append(all, "passwords are taken over plain HTTP, where everybody on the way can read them (--insecure-basic)")
		case len(cfg.TrustedProxies.Networks) == 0:
			all = append(all, "passwords are not taken over plain HTTP from other machines: use --tls-cert and --tls-key, or "+
				"--trusted-proxy and a proxy that speaks https")
		}
	}
	if cfg.hasNoDir() {
		return all
	}
	if os.Geteuid() == 0 {
		all = append(all, "the server runs as root, so file permissions do not restrict it: "+
			"start it as the user who owns the directory, it needs no other rights")
	}
	if cfg.ReadOnly {
		return all
	}
	if !able.Flock {
		all = append(all, "this disk has no file locks: start no second server on this directory")
	}
	if cfg.Durability == durabilityNone {
		all = append(all, "the last writes may be lost when the power fails (--durability none)")
	}
	return all
}

// localURL is the URL of the server on this machine.
func localURL(cfg Config, addr net.Addr) string {
	if addr.Network() == "unix" {
		return listen.UnixPrefix + addr.String()
	}
	u := url.URL{Scheme: "http", Host: addr.String(), Path: cfg.Prefix + "/"}
	if cfg.secure() {
		u.Scheme = "https"
	}
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		u.Host = fmt.Sprintf("127.0.0.1:%d", tcp.Port) // clients cannot connect to the unspecified address
	}
	return u.String()
}

// publicURL is the URL of the server for clients.
func publicURL(cfg Config) string {
	u := *cfg.PublicURLs[0]
	u.Path, u.RawPath = cfg.Prefix+"/", ""
	return u.String()
}
