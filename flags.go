package main

import (
	"cmp"
	"net/url"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/crypto/acme"

	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/internal/certificate"
	"r-seed-1f3a754f.example/ifmatch/internal/duration"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/settings"
	"r-seed-1f3a754f.example/ifmatch/settings/values"
)

// env returns the environment variable that stands for a flag.
func env(flag string) []string { return settings.Variables(flag) }

func serveFlags() []cli.Flag {
	text := func(name, value, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Usage: usage, EnvVars: env(name)}
	}
	file := func(name, usage string) cli.Flag {
		return &cli.PathFlag{Name: name, Usage: usage, EnvVars: env(name)}
	}
	yes := func(name, usage string) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, EnvVars: env(name)}
	}
	list := func(name, usage string) cli.Flag {
		return &cli.StringSliceFlag{Name: name, Usage: usage + "; may be repeated", EnvVars: env(name)}
	}
	return withDays(append(slices.Concat(authFlags(), limitFlags(), acmeFlags()), []cli.Flag{
		text("addr", "127.0.0.1:8080", "`HOST:PORT` to listen on, where port 0 picks a free one; or unix:PATH for a Unix socket"),
		text("prefix", "", "`PATH` below which the directory is served, such as /dav"),
		yes("read-only", "refuse every change, and write nothing to the directory"),
		text("page", "full", "`WHAT` browsers get for a collection: full (a page that lists, opens, edits and merges files), "+
			"list (links alone, as other clients get), or off (an empty page)"),
		yes("memory", "serve a new tree in memory instead of a directory; it is lost at the end"),
		text("store", "", "serve a tree in a PostgreSQL database in place of a directory, at an `ADDRESS` such as "+
			"postgres://user@host/database, together with other servers; the password comes from PGPASSFILE"),
		text("blobs", "", "keep large contents of --store at an `ADDRESS` that all servers share: dir:///srv/blobs, or "+
			"s3://bucket/prefix?endpoint=https://s3.example; the key comes from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
		&cli.DurationFlag{Name: "blob-grace", Value: pgstore.DefaultBlobGrace, EnvVars: env("blob-grace"),
			Usage: "keep large contents of --store that have no name any more for a `TIME`, for requests that read them, " +
				"and for backups"},
		yes("whole-system", "allow DIR to be /, with every file of the machine"),
		yes("expect-state", "refuse DIR if it was never served: then its disk is not mounted"),
		file("state-dir", "keep the index of ETags in `DIR`, outside the served directory"),
		file("tls-cert", "`FILE` with the certificate chain (PEM); with --tls-key the server speaks https. Both are "+
			"read again when they change, and at SIGHUP"),
		file("tls-key", "`FILE` with the private key (PEM)"),
		yes("h2c", "speak HTTP/2 without TLS on an address that other machines can reach, too: a proxy may, browsers do not"),
		text("durability", "full", "the `LEVEL` of durability of a write before it is acknowledged: "+
			"full (content and name are on disk), data, or none"),
		&cli.DurationFlag{Name: "history", Value: 7 * 24 * time.Hour, EnvVars: env("history"),
			Usage: "keep replaced and removed versions for a `TIME` such as 36h or 7d, as far as --history-size allows; " +
				"0 keeps no new ones, and leaves the existing ones for 24h"},
		text("history-size", "10%", "most space for the history: a share of the disk, or a `SIZE` such as 20GB; "+
			"the oldest versions go first"),
		text("file-mode", "", "`MODE` of new files in octal, such as 0640 (default: by the umask)"),
		text("dir-mode", "", "`MODE` of new collections in octal, such as 2770 (default: by the umask)"),
		yes("no-locks", "take no WebDAV locks (class 1): macOS then mounts read-only; existing locks still bind"),
		text("junk", "serve", "`HOW` to treat the files that macOS and Windows leave in every directory (._*, .DS_Store, "+
			"Thumbs.db …): serve them like others, or refuse to make new ones"),
		&cli.DurationFlag{Name: "tag-wait", Value: 5 * time.Second, EnvVars: env("tag-wait"),
			Usage: "let an answer wait for an optional ETag for a `TIME`; 0s for as long as it takes"},
		&cli.IntFlag{Name: "warm-up", Value: defaultWarmUp(), EnvVars: env("warm-up"),
			Usage: "`NUMBER` of files to hash at once ahead of requests; 0 to hash only on request"},
		text("watch", "fsnotify", "`HOW` to notice changes by other programs ahead of requests: fsnotify, or off"),
		&cli.DurationFlag{Name: "rescan", EnvVars: env("rescan"),
			Usage: "search for changed files at intervals of a `TIME`, for file systems that report no changes (such as " +
				"network file systems); 0s for never"},
		text("cache-memory", "64MB", "most memory, a `SIZE`, for ETags and for the contents of files up to 16 KiB that are asked "+
			"for again; with 0, no contents"),
		yes("no-sendfile", "read files to send them, instead of letting the kernel send the beginning of large ones"),
		list("site", "show a `PATH` as a web site, or HOST=PATH at a host name that serves nothing else"),
		&cli.DurationFlag{Name: "publish-grace", EnvVars: env("publish-grace"),
			Usage: "answer names of a --site that never get another content from the history for a `TIME` such as 10m after a MOVE " +
				"over the site has displaced them; 0s for not at all"},
		list("public-url", "`URL` by which clients know the server, if it has a name"),
		list("trusted-proxy", "`ADDRESS` or network of a proxy whose X-Forwarded headers are trusted, or unix"),
		yes("loose-etags", "accept W/\"x\" and \"x-gzip\", which compressing proxies make of \"x\", from every client"),
		yes("require-conditions", "refuse, with 428, to replace or remove a file without a condition that names its version"),
		list("cors-origin", "web `ORIGIN` whose pages may read and write, such as https://app.example"),
		text("drain-size", "1GB", "read up to a `SIZE`, such as 1GB or 0, of a refused body, so that clients that "+
			"send all of it before they read the answer get the answer"),
		&cli.DurationFlag{Name: "drain-time", Value: time.Minute, EnvVars: env("drain-time"),
			Usage: "read a refused body for a `TIME` at the most"},
		text("delete-guard", "rclone/*", "refuse the DELETE of `AGENTS` that delete a file which they failed to "+
			"replace: patterns of the User-Agent, with commas between them; all, off"),
		&cli.IntFlag{Name: "depth-infinity", Value: 10_000, EnvVars: env("depth-infinity"),
			Usage: "most members, `N`, in a PROPFIND with Depth: infinity; larger ones are refused, and 0 refuses all"},
		&cli.DurationFlag{Name: "upload-expiry", Value: 24 * time.Hour, EnvVars: env("upload-expiry"),
			Usage: "keep what has arrived of an unfinished upload for a `TIME` after its last byte"},
		&cli.DurationFlag{Name: "grace", Value: 10 * time.Second, EnvVars: env("grace"),
			Usage: "let running requests go on for a `TIME` when the server is asked to stop"},
		text("admin", "", "`ADDRESS` of a listener for the administrator (/healthz, /readyz, /metrics): HOST:PORT, or "+
			"unix:PATH for a socket"),
		list("admin-host", "`NAME` by which other machines call the --admin listener; without one, it listens on loopback "+
			"addresses only"),
		text("log-format", "text", "`FORMAT` of the log: text or json"),
		text("log-level", "info", "lowest `LEVEL` that is logged: debug, info, warn, error"),
		text("access-log", "on", "`HOW` to log requests: on, with a line for each, or off; those that fail for a fault of the "+
			"server are always logged"),
		text("pprof", "", "serve profiles of the program (net/http/pprof) at `HOST:PORT`, a loopback address, or unix:PATH; "+
			"port 0 picks a free one, which the log names"),
	}...))
}

// acmeFlags are the flags of serve about certificates that it asks for.
func acmeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "acme", EnvVars: env("acme"),
			Usage: "`NAME` for which to get a certificate of Let's Encrypt, whose terms you accept with that, and renew it; " +
				"kept in --state-dir; port 443 must lead here, or port 80 to --redirect; may be repeated"},
		&cli.StringFlag{Name: "acme-directory", Value: acme.LetsEncryptURL, EnvVars: env("acme-directory"),
			Usage: "with --acme: `URL` of another authority"},
		&cli.PathFlag{Name: "acme-ca", EnvVars: env("acme-ca"),
			Usage: "with --acme: `FILE` with the root certificates (PEM) of that authority's own server"},
		&cli.StringFlag{Name: "acme-email", EnvVars: env("acme-email"),
			Usage: "with --acme: `ADDRESS` to which the authority may write"},
		&cli.StringFlag{Name: "redirect", EnvVars: env("redirect"),
			Usage: "`HOST:PORT` of a second listener, such as :80, that leads GET and HEAD to https and refuses everything " +
				"else"},
		&cli.DurationFlag{Name: "hsts", EnvVars: env("hsts"),
			Usage: "tell browsers to use nothing but https with this name for a `TIME` such as 180d; 0s to tell them nothing"},
	}
}

// parseACME reads the flags of [acmeFlags] about certificates.
func parseACME(c *cli.Context) (certificate.ACME, error) {
	opts := certificate.ACME{Directory: c.String("acme-directory"), CA: c.Path("acme-ca"), Email: c.String("acme-email")}
	var err error
	if opts.Names, err = values.Each(c.StringSlice("acme"), certificate.ParseName); err != nil || len(opts.Names) == 0 {
		return opts, err
	}
	u, err := url.Parse(opts.Directory)
	switch {
	case c.Path("state-dir") == "":
		return opts, usagef("--acme keeps keys and certificates, and they must not be served: add --state-dir DIR")
	case c.Path("tls-cert") != "":
		return opts, usagef("--acme and --tls-cert are two ways to get a certificate: leave out one of them")
	case err != nil || u.Scheme != "https" || u.Host == "":
		return opts, usagef("--acme-directory %q: write a whole URL with https, as the authority tells it", opts.Directory)
	}
	return opts, nil
}

// withDays lets flags that are durations be given in days and weeks too.
func withDays(flags []cli.Flag) []cli.Flag {
	for i, f := range flags {
		if d, ok := f.(*cli.DurationFlag); ok {
			value := duration.Flag(d.Value)
			flags[i] = &cli.GenericFlag{
				Name: d.Name, Usage: d.Usage, EnvVars: d.EnvVars, Value: &value, DefaultText: duration.Short(d.Value),
			}
		}
	}
	return flags
}

// configOf makes a Config of the flags and the environment. Its errors are usage errors.
func configOf(c *cli.Context) (Config, error) {
	cfg := Config{
		Config: handler.Config{
			ReadOnly:          c.Bool("read-only"),
			NoLocks:           c.Bool("no-locks"),
			NoLinks:           c.Bool("no-links"),
			LooseETags:        c.Bool("loose-etags"),
			RequireConditions: c.Bool("require-conditions"),
			TagWait:           c.Duration("tag-wait"),
			UploadExpiry:      c.Duration("upload-expiry"),
		},
		Dir:           ".",
		Memory:        c.Bool("memory"),
		Database:      c.String("store"),
		Blobs:         c.String("blobs"),
		BlobGrace:     c.Duration("blob-grace"),
		WholeSystem:   c.Bool("whole-system"),
		ExpectState:   c.Bool("expect-state"),
		NoSendfile:    c.Bool("no-sendfile"),
		H2C:           c.Bool("h2c"),
		StateDir:      c.Path("state-dir"),
		Addr:          c.String("addr"),
		Pprof:         c.String("pprof"),
		TLSCert:       c.Path("tls-cert"),
		TLSKey:        c.Path("tls-key"),
		DepthInfinity: c.Int("depth-infinity"),
		Grace:         c.Duration("grace"),
		WarmUp:        c.Int("warm-up"),
		Rescan:        c.Duration("rescan"),
		AuditLog:      c.Path("audit-log"),
		Redirect:      c.String("redirect"),
		HSTS:          c.Duration("hsts"),
		Admin:         c.String("admin"),
		AdminHosts:    c.StringSlice("admin-host"),
	}
	cfg.Exchange.DrainTime = c.Duration("drain-time")
	if c.Args().Present() {
		cfg.Dir = c.Args().First()
	}
	if rest := c.Args().Tail(); len(rest) > 0 {
		return Config{}, usagef("only one directory can be served: leave out %q", rest[0])
	}
	err := cfg.validate(c.Args().Present())
	into(&err, &cfg.Prefix)(values.Prefix(c.String("prefix")))
	into(&err, &cfg.Durability)(parseDurability(c.String("durability")))
	into(&err, &cfg.History)(parseHistory(c.Duration("history"), c.String("history-size")))
	into(&err, &cfg.FileMode)(values.Mode("file-mode", c.String("file-mode"), 0o600, 0o777))
	into(&err, &cfg.DirMode)(values.Mode("dir-mode", c.String("dir-mode"), 0o700, 0o3777))
	into(&err, &cfg.PublicURLs)(values.Each(c.StringSlice("public-url"), values.PublicURL(cfg.Prefix)))
	proxies, trustUnix, failed := values.Proxies(c.StringSlice("trusted-proxy"))
	into(&err, &cfg.TrustedProxies)(proxy.Trusted{Networks: proxies, Unix: trustUnix}, failed)
	into(&err, &cfg.Sites)(values.Each(c.StringSlice("site"), parseSite))
	into(&err, &cfg.PublishGrace)(parseGrace(c.Duration("publish-grace")))
	into(&err, &cfg.CORSOrigins)(values.Each(c.StringSlice("cors-origin"), values.Origin))
	into(&err, &cfg.Exchange.DrainBytes)(values.Drain(c.String("drain-size")))
	into(&err, &cfg.CacheMemory)(values.Cache(c.String("cache-memory")))
	into(&err, &cfg.DeleteGuard)(values.Agents(c.String("delete-guard")))
	into(&err, &cfg.RefuseJunk)(values.Choice("junk", c.String("junk"), "refuse", "serve", "refuse"))
	into(&err, &cfg.Watch)(values.Choice("watch", c.String("watch"), "fsnotify", "fsnotify", "off"))
	into(&err, &cfg.Page)(parsePage(c.String("page")))
	into(&err, &cfg.LogJSON)(values.Choice("log-format", c.String("log-format"), "json", "text", "json"))
	into(&err, &cfg.LogRequests)(values.Choice("access-log", c.String("access-log"), "on", "on", "off"))
	into(&err, &cfg.Access)(parseAuth(c))
	into(&err, &cfg.Limits)(parseLimits(c))
	into(&err, &cfg.LogLevel)(values.Level(c.String("log-level")))
	into(&err, &cfg.ACME)(parseACME(c))
	if err == nil {
		err = cfg.complete()
	}
	if err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// into returns a function that stores a value, unless err is already set, and its error in err.
func into[T any](err *error, to *T) func(T, error) {
	return func(value T, failed error) {
		if *err == nil {
			*to, *err = value, failed
		}
	}
}

// effectiveConfig makes a Config of the flags, the environment and the configuration file. dir is the value of the
// variable for DIR ("": not set), which counts after an argument and before the file.
func effectiveConfig(c *cli.Context, dir string) (Config, *settings.File, error) {
	file, err := settings.Read(c.Path(settings.ConfigFlag), serveFlags())
	fixed := fixedLimits(c)
	if err == nil {
		err = file.ApplyTo(c)
	}
	if err != nil {
		return Config{}, nil, err
	}
	var has []string
	if len(file.Sites) > 0 {
		has = append(has, "site")
	}
	if err := checkPartners(c, serveFlags(), has...); err != nil {
		return Config{}, nil, err
	}
	cfg, err := configOf(c)
	if err != nil {
		return Config{}, nil, err
	}
	if dir = cmp.Or(dir, file.Dir); dir != "" && !c.Args().Present() {
		if cfg.Database != "" {
			return Config{}, nil, usagef("--store serves no directory: leave out %q, or --store", dir)
		}
		if cfg.Memory {
			return Config{}, nil, usagef("--memory serves no directory: leave out %q, or --memory", dir)
		}
		cfg.Dir = dir
	}
	if len(file.Shares) > 0 {
		if err := serveShares(&cfg, file, c.Args().First()); err != nil {
			return Config{}, nil, err
		}
	}
	if err := cfg.checkDatabase(c, file); err != nil {
		return Config{}, nil, err
	}
	cfg.Quotas, cfg.Sites = file.Quotas, append(cfg.Sites, file.Sites...)
	for i := range cfg.Sites {
		cfg.Sites[i].SetGrace(cfg.PublishGrace)
	}
	cfg.ConfigFile, cfg.settings, cfg.fixedLimits = file.Name, file, fixed
	if file.Alone {
		cfg.Access.Config = "" // else rules would decide, and there are none
	}
	return cfg, file, nil
}

// serveShares has a server serve the shares of a file in place of one directory. dir is the argument of the command
// line.
func serveShares(cfg *Config, file *settings.File, dir string) error {
	switch {
	case dir != "":
		return usagef("%s has shares, so there is no DIR: leave out %q, or add a share for it", file.Name, dir)
	case file.Dir != "":
		return usagef("%s has shares, so there is no dir: leave it out, or make it a share", file.Name)
	case cfg.Memory:
		return usagef("--memory serves no directory, and %s has shares: leave out one of them", file.Name)
	}
	cfg.Dir, cfg.Shares = "", file.Shares
	return file.CheckShares(alike)
}

func usersFlag() cli.Flag {
	return &cli.PathFlag{Name: "users", Usage: "`FILE` with the users, and the hashes of their passwords",
		EnvVars: env("users")}
}
