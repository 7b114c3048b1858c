package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/auth/command"
	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/listen"
)

// authFlags are the flags of serve about users and rules.
func authFlags() []cli.Flag {
	text := func(name, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: usage, EnvVars: env(name)}
	}
	yes := func(name, usage string) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, EnvVars: env(name)}
	}
	return []cli.Flag{
		usersFlag(),
		&cli.PathFlag{Name: "config", Usage: "`FILE` with settings, shares, groups and rules",
			EnvVars: env("config")},
		text("anonymous", "`WHAT` everybody may do without logging in: none, read or write"),
		yes("allow-anonymous", "let every machine write that can reach the address: the same as --anonymous write"),
		yes("insecure-basic", "take passwords of --users over plain HTTP from other machines, too: everybody on the way can read them"),
		yes("old-hashes", "take the weak hashes apr1 and {SHA} in --users, too"),
		text("user-header", "`HEADER` in which a proxy names the user, such as X-Remote-User"),
		&cli.StringSliceFlag{Name: "user-header-from", EnvVars: env("user-header-from"),
			Usage: "`ADDRESS` of a proxy whose --user-header is believed, or unix; a network only if it is given twice; " +
				"may be repeated"},
		text("user-header-new", "with --user-header: `GROUP` for users whom only the proxy knows (default: they are refused)"),
		&cli.PathFlag{Name: "audit-log", EnvVars: env("audit-log"),
			Usage: "`FILE` to which a line in JSON is appended for each change: who, what, from which version to which"},
		yes("no-links", "answer no share links, and let no user make any"),
		text("groups-header", "with --user-header: `HEADER` in which the proxy names the groups of the user, with commas between them"),
	}
}

// parseAuth reads the flags of [authFlags].
func parseAuth(c *cli.Context) (auth.Options, error) {
	opts := auth.Options{
		Users: c.Path("users"), Config: c.Path("config"),
		OldHashes: c.Bool("old-hashes"), InsecureBasic: c.Bool("insecure-basic"),
	}
	told := c.String("anonymous")
	var err error
	if opts.Anonymous, err = command.Anonymous(told); err != nil {
		return opts, err
	}
	if c.Bool("allow-anonymous") {
		if told != "" && told != "write" {
			return opts, usagef("--allow-anonymous and --anonymous %s contradict each other: leave out one of them", told)
		}
		opts.Anonymous = auth.ReadWrite
	}
	opts.Proxy, err = auth.ParseProxyNames(c.String("user-header"), c.StringSlice("user-header-from"),
		c.String("groups-header"), c.String("user-header-new"))
	if err != nil {
		return opts, usagef("%v", err)
	}
	if told == "none" && opts.Users == "" && opts.Config == "" && opts.Proxy.UserHeader == "" {
		return opts, usagef("--anonymous none lets nobody do anything where there are no users: add --users FILE")
	}
	return opts, nil
}

// openAuth reads users and rules. Their files must not be served: clients that may read there could take them away.
func openAuth(cfg Config) (*auth.Authority, error) {
	files := map[string]string{
		"--users": cfg.Access.Users, "--config": cfg.ConfigFile, "--audit-log": cfg.AuditLog, "--tls-key": cfg.TLSKey,
	}
	for flag, addr := range map[string]string{"--addr": cfg.Addr, "--admin": cfg.Admin, "--pprof": cfg.Pprof} {
		if path, ok := strings.CutPrefix(addr, listen.UnixPrefix); ok {
			files[flag] = path
		}
	}
	for flag, file := range files {
		if file == "" || cfg.hasNoDir() {
			continue
		}
		if err := refuseServed(cfg, flag, file); err != nil {
			return nil, err
		}
	}
	cfg.Access.Alike = alike
	authority, err := auth.Open(cfg.Access)
	if err != nil {
		return nil, err
	}
	if file := authority.Now().UsersFile(); file != cfg.Access.Users && !cfg.hasNoDir() {
		err = refuseServed(cfg, "the users file in --config", file)
	}
	return authority, err
}

// sessions returns those of the users who have logged in at the page: on the disk that is served, of the first share
// where there are several, or in --state-dir. They end with the process where neither can be written.
func (cfg Config) sessions(log *slog.Logger) *session.Table {
	if cfg.shared.sessions != nil {
		return session.New(cfg.shared.sessions, cfg.shared.now)
	}
	if cfg.Memory || cfg.ReadOnly && cfg.StateDir == "" {
		return session.New(session.Memory(), nil)
	}
	report := func(err error) { log.Warn(err.Error()) }
	return session.New(session.Of(cfg.directories()[0].Dir, cfg.StateDir, report), nil)
}

func refuseServed(cfg Config, flag, file string) error {
	if resolved, err := filepath.EvalSymlinks(file); err == nil {
		file = resolved
	}
	for _, one := range cfg.directories() {
		// a fault of either is told where it is opened
		if inside, err := isInside(filepath.Dir(file), one.Dir); err == nil && inside {
			return usagef("%s %s is in the directory that is served: keep it elsewhere", flag, file)
		}
	}
	return nil
}

// refuseAnonymous refuses an address that other machines can reach where each client could write, unless a flag or a
// rule says so.
func refuseAnonymous(cfg Config, loopback bool) error {
	open := cfg.Auth.Now()
	if loopback || cfg.ReadOnly || cfg.Access.Anonymous == auth.ReadWrite || open.HasUsers() {
		return nil
	}
	if auth.ReadOnly.Has(open.AnonymousMay()) {
		return nil
	}
	return usagef("refusing to listen on %s, because other machines can reach it and there are no users: "+
		"use --users FILE, --addr %s, --read-only, or --allow-anonymous to let every machine write that can reach it",
		cfg.Addr, listen.OnLoopback(cfg.Addr))
}

// mostOpen bounds the lines of the banner about rules.
const mostOpen = 20

// openTo says which clients may do which things, for the banner: a label and a text each.
func openTo(authority *auth.Authority) (lines [][2]string) {
	now := authority.Now()
	if !now.HasUsers() && now.AnonymousMay() == auth.All && len(now.Rules()) == 1 {
		return nil // the warning says it, where other machines can reach the server
	}
	if now.HasUsers() {
		text := fmt.Sprintf("%d, who log in by a password or an app token", now.CountUsers())
		if header := authority.UserHeader(); header != "" {
			text += "; a proxy names them, too, in " + header
		}
		lines = append(lines, [2]string{"users:", text})
	}
	rules := slices.DeleteFunc(slices.Clone(now.Rules()), func(r auth.Rule) bool {
		return r.Line == 0 && r.Effects == auth.None // no file has it, and it grants nothing
	})
	for i, rule := range rules {
		if i == mostOpen {
			lines = append(lines, [2]string{"open:", fmt.Sprintf("and %d more rules (see: ifmatch explain)", len(rules)-i)})
			break
		}
		text := fmt.Sprintf("%s to %s: %s", rule.Path, rule.Who, rule.Effects)
		if rule.Require != auth.NoPolicy {
			text += ", requires " + rule.Require.String()
		}
		lines = append(lines, [2]string{"open:", strings.Replace(text, "anonymous", "everybody", 1)})
	}
	if now.AnonymousMay() == auth.None {
		lines = append(lines, [2]string{"open:", "nothing without logging in"})
	}
	return lines
}
