package main

import (
	iofs "io/fs"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"path"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"ifmatch/fs"
	"ifmatch/limit"
	"ifmatch/tree"
	"ifmatch/wire"
)

// Config says what is served, where, and to whom. [configOf] makes one of the command line.
type Config struct {
	Dir            string // what is served; ignored with Memory
	Memory         bool   // a throw-away tree instead of Dir
	WholeSystem    bool   // Dir may be the top of the file system
	ReadOnly       bool
	NoLocks        bool   // take no WebDAV locks
	RefuseJunk     bool   // see handler.Config
	AllowAnonymous bool   // let everyone write who can reach an address that is not loopback
	StateDir       string // where the index is kept, if not in Dir
	Durability     fs.Durability
	History        fs.Retention // of what was replaced or removed
	// Modes of new files and collections; 0: what the umask leaves.
	FileMode, DirMode iofs.FileMode

	TagWait time.Duration // what an answer waits for tags that it can do without; 0: as long as it takes
	WarmUp  int           // how many files are hashed at once ahead of need; 0: none are looked for
	Watch   bool          // be told by the operating system what other programs change
	Rescan  time.Duration // how often to look for what changed; 0: never

	NoSendfile bool // see handler.Config

	Addr              string // host:port; port 0 picks a free one
	TLSCert, TLSKey   string // PEM files; both, or neither for plain HTTP
	H2C               bool   // HTTP/2 without TLS where others can reach the address; on loopback it is spoken anyway
	Prefix            string // "" or a path such as "/dav"
	PublicURLs        []*url.URL
	TrustedProxies    []netip.Prefix
	LooseETags        bool  // take the tags that compressing proxies change for ours
	RequireConditions bool  // refuse to replace or remove what is there without a condition
	DrainBytes        int64 // of a refused body; negative for none
	DrainTime         time.Duration
	Pace              wire.Limit    // how slow a client may be; zero: wire.DefaultLimit
	ShortBody         time.Duration // see handler.Config
	Abandoned         time.Duration // see handler.Config
	CORSOrigins       []string
	DeleteGuard       []string      // patterns of User-Agents, see handler.Config
	DepthInfinity     int           // members that PROPFIND tells of with Depth: infinity
	Grace             time.Duration // for what still runs when the server is asked to stop

	LogJSON  bool
	LogLevel slog.Level

	Pools *limit.Pools // of all that is served, one after the other; nil: each its own
}

const envPrefix = "IFMATCH_"

// env returns the environment variable that stands for a flag.
func env(flag string) []string {
	return []string{envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))}
}

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
	return withDays([]cli.Flag{
		text("addr", "127.0.0.1:8080", "`HOST:PORT` to listen on; port 0 picks a free one"),
		text("prefix", "", "`PATH` below which the directory is served, such as /dav"),
		yes("read-only", "refuse every change, and leave nothing in the directory"),
		yes("memory", "serve a throw-away tree in memory instead of a directory"),
		yes("whole-system", "serve / where that is the directory, with all that is on the machine"),
		file("state-dir", "keep the index of known tags below `DIR`, outside of what is served"),
		file("tls-cert", "`FILE` with the certificate chain (PEM); with --tls-key the server speaks https. Both are read anew "+
			"when they change, and at SIGHUP"),
		file("tls-key", "`FILE` with the private key (PEM)"),
		yes("h2c", "speak HTTP/2 without TLS on an address that other machines can reach, too: a proxy may, browsers do not"),
		text("durability", "full", "`WHAT` is on disk before a write is acknowledged: full (content and name), data, or none"),
		&cli.DurationFlag{Name: "history", Value: 24 * time.Hour, EnvVars: env("history"),
			Usage: "for how long a `TIME`, such as 36h or 7d, what was replaced or removed is kept, as far as --history-size " +
				"leaves room; 0 keeps nothing new, and leaves what is there for 24h"},
		text("history-size", "10%", "the most that the history may take: a share of the disk, or `SIZE` such as 20GB; the oldest goes first"),
		text("file-mode", "", "`MODE` of new files in octal, such as 0640 (default: by the umask)"),
		text("dir-mode", "", "`MODE` of new collections in octal, such as 2770 (default: by the umask)"),
		yes("no-locks", "take no WebDAV locks (class 1): macOS then mounts read-only; those that are held still bind"),
		text("junk", "serve", "`HOW` to treat the files that macOS and Windows leave in every directory (._*, .DS_Store, "+
			"Thumbs.db …): serve them like others, or refuse to make new ones"),
		&cli.DurationFlag{Name: "tag-wait", Value: 5 * time.Second, EnvVars: env("tag-wait"),
			Usage: "for how long a `TIME` an answer waits for ETags it can do without; 0s for as long as it takes"},
		&cli.IntFlag{Name: "warm-up", Value: defaultWarmUp(), EnvVars: env("warm-up"),
			Usage: "`NUMBER` of files that are hashed at once before anybody asks; 0 to wait until they are asked for"},
		text("watch", "fsnotify", "`HOW` to learn what other programs change before it is asked for: fsnotify, or off"),
		&cli.DurationFlag{Name: "rescan", EnvVars: env("rescan"),
			Usage: "after how much `TIME` to look for changed files again, where a file system tells nothing (such as a network's); " +
				"0s for never"},
		yes("no-sendfile", "read all of a file to send it, instead of having the kernel send the beginning of large ones"),
		list("public-url", "`URL` by which clients know the server, if it has a name"),
		list("trusted-proxy", "`ADDRESS` or network of a proxy whose word about a request is believed"),
		yes("loose-etags", "take tags as compressing proxies change them, W/\"x\" or \"x-gzip\", for \"x\", whoever sends them"),
		yes("require-conditions", "refuse, with 428, what would replace or remove a file and does not say which version of it"),
		list("cors-origin", "web `ORIGIN` whose pages may read and write, such as https://app.example"),
		text("drain-size", "1GB", "how much of a refused body is read, so that clients that do not listen before they have sent "+
			"it hear why: a `SIZE` such as 1GB, or 0"),
		&cli.DurationFlag{Name: "drain-time", Value: time.Minute, EnvVars: env("drain-time"),
			Usage: "and for how long a `TIME`"},
		text("delete-guard", "rclone/*", "`AGENTS` that delete what they failed to replace, and are kept from it: patterns of the "+
			"User-Agent, with commas between them; all, off"),
		&cli.IntFlag{Name: "depth-infinity", Value: 10_000, EnvVars: env("depth-infinity"),
			Usage: "at most `N` members in a PROPFIND with Depth: infinity; what has more is refused, and 0 refuses all"},
		yes("allow-anonymous", "let everyone write who can reach the address"),
		&cli.DurationFlag{Name: "grace", Value: 10 * time.Second, EnvVars: env("grace"),
			Usage: "for how long a `TIME` running requests may go on when the server is asked to stop"},
		text("log-format", "text", "`FORMAT` of the log: text or json"),
		text("log-level", "info", "the least `LEVEL` that is logged: debug, info, warn, error"),
	})
}

// flagsFirst moves DIR behind the flags of serve, and the operands of some commands behind theirs, where urfave/cli v2 looks for them:
// people write them anywhere.
func flagsFirst(args []string) []string {
	command := 2 // where it ends
	alone := map[string]bool{"help": true, "h": true}
	switch {
	case len(args) >= 2 && args[1] == "serve":
		for _, flag := range serveFlags() {
			if _, ok := flag.(*cli.BoolFlag); ok {
				alone[flag.Names()[0]] = true
			}
		}
	case wordsOf(args) > 0:
		command = wordsOf(args)
		alone["no-password"] = true
	default:
		return args
	}
	flags, operands := append([]string(nil), args[:command]...), []string(nil)
	for rest := args[command:]; len(rest) > 0; rest = rest[1:] {
		name := strings.TrimLeft(rest[0], "-")
		switch {
		case rest[0] == "--":
			operands = append(operands, rest[1:]...)
			rest = rest[:1]
		case rest[0] == "-" || name == rest[0]:
			operands = append(operands, rest[0])
		case alone[name] || strings.Contains(name, "=") || len(rest) == 1:
			flags = append(flags, rest[0])
		default:
			flags = append(flags, rest[0], rest[1])
			rest = rest[1:]
		}
	}
	if len(operands) == 0 {
		return flags
	}
	return append(append(flags, "--"), operands...)
}

// configOf reads the flags, and the environment in their place. Its errors are usage errors.
func configOf(c *cli.Context) (Config, error) {
	cfg := Config{
		Dir:               ".",
		Memory:            c.Bool("memory"),
		WholeSystem:       c.Bool("whole-system"),
		ReadOnly:          c.Bool("read-only"),
		NoLocks:           c.Bool("no-locks"),
		AllowAnonymous:    c.Bool("allow-anonymous"),
		NoSendfile:        c.Bool("no-sendfile"),
		H2C:               c.Bool("h2c"),
		LooseETags:        c.Bool("loose-etags"),
		RequireConditions: c.Bool("require-conditions"),
		StateDir:          c.Path("state-dir"),
		Addr:              c.String("addr"),
		TLSCert:           c.Path("tls-cert"),
		TLSKey:            c.Path("tls-key"),
		DepthInfinity:     c.Int("depth-infinity"),
		Grace:             c.Duration("grace"),
		TagWait:           c.Duration("tag-wait"),
		WarmUp:            c.Int("warm-up"),
		Rescan:            c.Duration("rescan"),
	}
	if c.Args().Present() {
		cfg.Dir = c.Args().First()
	}
	if cfg.Dir == "" {
		return Config{}, usagef("DIR is empty: name the directory to serve, or leave it out to serve this one")
	}
	if rest := c.Args().Tail(); len(rest) > 0 {
		return Config{}, usagef("one directory can be served, and %q is another one", rest[0])
	}
	switch {
	case cfg.Memory && c.Args().Present():
		return Config{}, usagef("--memory serves no directory: leave out %q, or --memory", cfg.Dir)
	case cfg.Memory && cfg.StateDir != "":
		return Config{}, usagef("--memory keeps nothing: leave out --state-dir, or --memory")
	case cfg.Memory && cfg.ReadOnly:
		return Config{}, usagef("--memory begins empty, so --read-only would leave it so: leave out one of them")
	case (cfg.TLSCert == "") != (cfg.TLSKey == ""):
		return Config{}, usagef("--tls-cert and --tls-key belong together: give both, or neither for plain HTTP")
	case cfg.DepthInfinity < 0:
		return Config{}, usagef("--depth-infinity %d: give the number of members, or 0 to refuse it", cfg.DepthInfinity)
	case cfg.TagWait < 0:
		return Config{}, usagef("--tag-wait %v lies in the past: give a duration such as 5s, or 0s to wait as long as it takes", cfg.TagWait)
	case cfg.WarmUp < 0 || cfg.WarmUp > maxWarmUp:
		return Config{}, usagef("--warm-up %d: give a number from 1 to %d, or 0 to hash only what is asked for", cfg.WarmUp, maxWarmUp)
	case cfg.Rescan < 0 || cfg.Rescan > 0 && cfg.Rescan < time.Second:
		return Config{}, usagef("--rescan %v is too short: give a duration such as 10m, or 0s for never", cfg.Rescan)
	case cfg.Rescan > 0 && cfg.WarmUp == 0:
		return Config{}, usagef("--rescan looks for files to hash, and --warm-up 0 says to hash none: leave out one of them")
	case cfg.Grace < 0:
		return Config{}, usagef("--grace %v lies in the past: give a duration such as 10s, or 0s to stop at once", cfg.Grace)
	}

	var err error
	if cfg.Prefix, err = parsePrefix(c.String("prefix")); err != nil {
		return Config{}, err
	}
	if cfg.Durability, err = parseDurability(c.String("durability")); err != nil {
		return Config{}, err
	}
	if cfg.History, err = parseHistory(c.Duration("history"), c.String("history-size")); err != nil {
		return Config{}, err
	}
	if cfg.Memory {
		cfg.History = fs.Retention{} // what is to be thrown away is not kept
	}
	if cfg.FileMode, err = parseMode("file-mode", c.String("file-mode"), 0o600, 0o777); err != nil {
		return Config{}, err
	}
	if cfg.DirMode, err = parseMode("dir-mode", c.String("dir-mode"), 0o700, 0o3777); err != nil {
		return Config{}, err
	}
	if cfg.PublicURLs, err = parseEach(c.StringSlice("public-url"), parsePublicURL(cfg.Prefix)); err != nil {
		return Config{}, err
	}
	if cfg.TrustedProxies, err = parseEach(c.StringSlice("trusted-proxy"), parseProxy); err != nil {
		return Config{}, err
	}
	if cfg.CORSOrigins, err = parseEach(c.StringSlice("cors-origin"), parseOrigin); err != nil {
		return Config{}, err
	}
	if cfg.DrainBytes, err = parseDrain(c.String("drain-size")); err != nil {
		return Config{}, err
	}
	if cfg.DrainTime = c.Duration("drain-time"); cfg.DrainTime <= 0 {
		return Config{}, usagef("--drain-time %v: give a duration such as 1m; --drain-size 0 reads nothing", cfg.DrainTime)
	}
	if cfg.DeleteGuard, err = parseAgents(c.String("delete-guard")); err != nil {
		return Config{}, err
	}
	switch junk := c.String("junk"); junk {
	case "serve", "refuse":
		cfg.RefuseJunk = junk == "refuse"
	default:
		return Config{}, usagef("--junk %q is not known: use serve or refuse", junk)
	}
	switch how := c.String("watch"); how {
	case "fsnotify", "off":
		cfg.Watch = how == "fsnotify"
	default:
		return Config{}, usagef("--watch %q is not known: use fsnotify or off", how)
	}
	switch format := c.String("log-format"); format {
	case "text", "json":
		cfg.LogJSON = format == "json"
	default:
		return Config{}, usagef("--log-format %q is not known: use text or json", format)
	}
	if err := cfg.LogLevel.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return Config{}, usagef("--log-level %q is not known: use debug, info, warn or error", c.String("log-level"))
	}
	return cfg, nil
}

const maxWarmUp = 64

// defaultWarmUp leaves half of the machine to others.
func defaultWarmUp() int { return min(4, max(1, runtime.NumCPU()/2)) }

// parseEach leaves out what is empty: that is what a variable set to nothing gives.
func parseEach[T any](values []string, parse func(string) (T, error)) (all []T, err error) {
	for _, value := range values {
		if value == "" {
			continue
		}
		one, err := parse(value)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func parsePrefix(s string) (string, error) {
	if s == "" || s == "/" {
		return "", nil
	}
	if s[0] != '/' {
		return "", usagef("--prefix %q: begin it with a slash, as in /dav", s)
	}
	prefix := "/" + strings.TrimSuffix(s[1:], "/")
	if err := tree.CheckName(prefix[1:]); err != nil || prefix == "/" || strings.ContainsAny(prefix, "?#%\\") {
		return "", usagef("--prefix %q: write a plain path such as /dav or /my/files", s)
	}
	return prefix, nil
}

func parseDurability(s string) (fs.Durability, error) {
	for _, d := range []fs.Durability{fs.Full, fs.Data, fs.None} {
		if d.String() == s {
			return d, nil
		}
	}
	return 0, usagef("--durability %q is not known: use full (nothing acknowledged is lost), data, or none", s)
}

// parseHistory reads how long the history is kept, and a share of the disk ("10%") or a number of bytes ("20GB").
func parseHistory(keep time.Duration, size string) (fs.Retention, error) {
	r := fs.Retention{Keep: keep}
	if keep < 0 {
		return r, usagef("--history %v lies in the past: give a duration such as 24h, or 0 to keep nothing", keep)
	}
	if percent, ok := strings.CutSuffix(size, "%"); ok {
		share, err := strconv.ParseFloat(percent, 64)
		if err != nil || !(share > 0 && share <= 100) {
			return r, usagef("--history-size %q: give a share of the disk between 0%% and 100%%", size)
		}
		r.Share = share / 100
		return r, nil
	}
	bytes, err := humanize.ParseBytes(size)
	if err != nil || bytes == 0 || bytes > math.MaxInt64 {
		return r, usagef("--history-size %q: give a size such as 20GB, or a share of the disk such as 10%%; --history 0 keeps nothing", size)
	}
	r.Most = int64(bytes)
	return r, nil
}

// parseMode reads a mode as chmod(1) does. One that has less than least would shut the server itself out.
func parseMode(flag, s string, least, most uint32) (iofs.FileMode, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 32)
	bits := uint32(n)
	if err != nil || bits&^most != 0 || bits&least != least {
		return 0, usagef("--%s %q: write an octal mode from %04o to %04o, with at least the owner's %04o in it", flag, s, least, most, least)
	}
	mode := iofs.FileMode(bits & 0o777)
	if bits&0o2000 != 0 {
		mode |= iofs.ModeSetgid
	}
	if bits&0o1000 != 0 {
		mode |= iofs.ModeSticky
	}
	return mode, nil
}

// parsePublicURL wants a URL that leads to the prefix: every href in an answer begins with it, and clients throw away
// what lies outside of the URL they were given.
func parsePublicURL(prefix string) func(string) (*url.URL, error) {
	return func(s string) (*url.URL, error) {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return nil, usagef("--public-url %q: write a whole URL such as https://files.example", s)
		}
		if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			return nil, usagef("--public-url %q: leave out the user, the query and the fragment", s)
		}
		if path := strings.TrimSuffix(u.Path, "/"); path != "" && path != prefix {
			return nil, usagef("--public-url %q: its path is not that of --prefix %q: make them the same, "+
				"and let a proxy pass the path on as it is", s, prefix)
		}
		return u, nil
	}
}

// parseDrain returns a number of bytes as handler.Config has it, where 0 stands for the default.
func parseDrain(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	switch {
	case err != nil || n > math.MaxInt64:
		return 0, usagef("--drain-size %q: give a size such as 1GB, or 0 to read nothing", s)
	case n == 0:
		return -1, nil
	}
	return int64(n), nil
}

// parseAgents returns patterns of User-Agents.
func parseAgents(s string) (patterns []string, err error) {
	switch s = strings.TrimSpace(s); s {
	case "all":
		return []string{"*"}, nil
	case "off", "":
		return nil, nil
	}
	for pattern := range strings.SplitSeq(s, ",") {
		pattern = strings.TrimSpace(pattern)
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return nil, usagef("--delete-guard %q: write how the User-Agent begins, such as rclone/*, with commas between several; or all, or off", s)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

func parseProxy(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, usagef("--trusted-proxy %q: write an IP address such as 10.0.0.2, or a network such as 10.0.0.0/24", s)
	}
	return network.Masked(), nil
}

// parseOrigin returns an origin as a browser writes it in the Origin header (RFC 6454 §6.2).
func parseOrigin(s string) (string, error) {
	switch s {
	case "*":
		return "", usagef(`--cors-origin "*" would let every web page that a user of this network visits ` +
			"read and write the files: list the origins that may")
	case "null":
		return "", usagef(`--cors-origin "null" is what any page in a sandboxed frame can claim to be: ` +
			"serve your page from a real origin and list that")
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.Contains(u.Host, "*") || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", usagef("--cors-origin %q: write scheme://host[:port] and nothing else, such as https://app.example", s)
	}
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"http": ":80", "https": ":443"} {
		if u.Scheme == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	return u.Scheme + "://" + strings.TrimSuffix(host, ":"), nil
}
