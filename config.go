package main

import (
	iofs "io/fs"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/internal/certificate"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/listen"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/settings"
	"r-seed-1f3a754f.example/ifmatch/shares/layout"
	"r-seed-1f3a754f.example/ifmatch/site"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// Config is the configuration of a server. [configOf] makes one from the command line.
type Config struct {
	Dir      string         // the served directory, ignored with Memory
	Shares   []layout.Share // directories that are served in place of Dir, each at its path
	Quotas   []limits.Limit // on paths, in whatever share they are
	Sites    []site.Site    // paths that are shown as web sites
	Memory   bool           // serve a new tree in memory instead of Dir
	Database string         // the address of the database with the tree, in place of Dir
	Blobs    string         // the address of its large contents

	sharedSessions session.Store // of all replicas with Database
	WholeSystem    bool          // Dir may be the root of the file system
	ExpectState    bool          // Dir was served before: see checkExpected
	ReadOnly       bool
	Page           web.Mode
	NoLocks        bool   // refuse LOCK
	NoLinks        bool   // answer no share links
	RefuseJunk     bool   // see handler.Config
	StateDir       string // the directory of the index ("": in Dir)
	Durability     durability
	History        retention // of replaced and removed versions
	// PublishGrace is how long what a publication has displaced is answered, on sites that do not say.
	PublishGrace time.Duration
	// Modes of new files and collections (0: by the umask).
	FileMode, DirMode iofs.FileMode

	TagWait time.Duration // how long an answer waits for an optional ETag (0: as long as it takes)
	WarmUp  int           // files hashed at once ahead of requests (0: none)
	Watch   bool          // let the operating system report changes by other programs
	Rescan  time.Duration // time between two searches for changes (0: no searches)

	NoSendfile bool // see etagfs.Options

	Addr              string // host:port, where port 0 picks a free one, or unix:path
	TLSCert, TLSKey   string // PEM files: both, or neither for plain HTTP
	H2C               bool   // HTTP/2 without TLS on any address, and not only on loopback addresses
	Prefix            string // "" or a path such as "/dav"
	PublicURLs        []*url.URL
	TrustedProxies    []netip.Prefix
	TrustUnix         bool  // those that come over the Unix socket are trusted proxies
	LooseETags        bool  // accept tags as compressing proxies change them
	RequireConditions bool  // refuse to replace or remove a resource without a condition
	CacheMemory       int64 // for ETags and small contents, in bytes (negative: no contents)
	DrainBytes        int64 // most bytes read of a refused body (negative: none)
	DrainTime         time.Duration
	Limits            Limits
	Live              *liveLimits   // those that are in force now (nil: Limits)
	UploadExpiry      time.Duration // of these
	ShortBody         time.Duration // see handler.Config
	Abandoned         time.Duration // see handler.Config
	CORSOrigins       []string
	DeleteGuard       []string        // patterns of User-Agents, see handler.Config
	DepthInfinity     int             // most members in a PROPFIND with Depth: infinity
	Grace             time.Duration   // for running requests when the server stops
	Ending            <-chan struct{} // closed when the server stops (nil: never)

	ConfigFile string // the configuration file ("": none)
	// The settings of that file, and the limits that it cannot change, see fixedLimits.
	settings    *settings.File
	fixedLimits map[string]string

	Auth      auth.Options    // users and rules
	Authority *auth.Authority // made of them (nil: everybody may do everything)

	Pprof string // host:port or unix:path of the listener for profiles ("": none)

	AuditLog string       // a file with a line for each change ("": none)
	Audit    *slog.Logger // into it

	LogJSON   bool
	LogLevel  slog.Level
	AccessLog bool         // a line for each request
	Requests  *slog.Logger // for these lines (nil: with all others)

	ACME     certificate.ACME
	Redirect string        // host:port of the listener that leads to https ("": none)
	HSTS     time.Duration // for how long browsers are told to use https (0: the header is left out)

	Passed listen.Passed // sockets of systemd, which override Addr and Admin

	Admin      string           // HOST:PORT of the admin listener, or unix:PATH ("": none)
	AdminHosts []string         // names by which other machines may call it
	Monitor    *monitor.Monitor // its state (nil: there is no admin listener)

	Pools *limit.Pools // shared by a directory and the one that replaces it (nil: unbounded)
}

// validate refuses flags that contradict each other or are out of range. hasDir: DIR was given.
func (cfg *Config) validate(hasDir bool) error {
	switch {
	case cfg.Dir == "":
		return usagef("DIR is empty: name the directory to serve, or leave it out to serve this one")
	case cfg.Database == "" && cfg.Blobs != "":
		return usagef("--blobs belongs to --store: give both, or neither")
	case cfg.Database != "" && cfg.Blobs == "":
		return usagef("--store needs --blobs too, a place for large contents that all servers share: such as dir:///srv/blobs")
	case cfg.Database != "" && hasDir:
		return usagef("--store serves no directory: leave out %q, or --store", cfg.Dir)
	case cfg.Database != "" && (cfg.Memory || cfg.StateDir != ""):
		return usagef("--store keeps all that --memory and --state-dir are about: leave these out, or --store")
	case cfg.Memory && hasDir:
		return usagef("--memory serves no directory: leave out %q, or --memory", cfg.Dir)
	case cfg.Memory && cfg.StateDir != "":
		return usagef("--memory keeps nothing: leave out --state-dir, or --memory")
	case cfg.Memory && cfg.ReadOnly:
		return usagef("--memory begins empty, and --read-only would keep it empty: leave out one of them")
	case (cfg.TLSCert == "") != (cfg.TLSKey == ""):
		return usagef("--tls-cert and --tls-key belong together: give both, or neither for plain HTTP")
	case cfg.HSTS < 0:
		return usagef("--hsts %v is negative: give a duration such as 180d, or 0s to tell browsers nothing", cfg.HSTS)
	case cfg.DepthInfinity < 0:
		return usagef("--depth-infinity %d is negative: give the number of members, or 0 to refuse it", cfg.DepthInfinity)
	case cfg.UploadExpiry < time.Minute:
		return usagef("--upload-expiry %v is too short: give a minute or more, such as 24h", cfg.UploadExpiry)
	case cfg.TagWait < 0:
		return usagef("--tag-wait %v is negative: give a duration such as 5s, or 0s to wait as long as it takes", cfg.TagWait)
	case cfg.WarmUp < 0 || cfg.WarmUp > maxWarmUp:
		return usagef("--warm-up %d is out of range: give a number from 1 to %d, or 0 to hash only on request",
			cfg.WarmUp, maxWarmUp)
	case cfg.Rescan < 0 || cfg.Rescan > 0 && cfg.Rescan < time.Second:
		return usagef("--rescan %v is too short: give a duration such as 10m, or 0s for never", cfg.Rescan)
	case cfg.Rescan > 0 && cfg.WarmUp == 0:
		return usagef("--rescan looks for files to hash, and --warm-up 0 says to hash none: leave out one of them")
	case cfg.Grace < 0:
		return usagef("--grace %v is negative: give a duration such as 10s, or 0s to stop at once", cfg.Grace)
	case cfg.DrainTime <= 0:
		return usagef("--drain-time %v is too short: give a duration such as 1m; --drain-size 0 reads nothing", cfg.DrainTime)
	}
	return nil
}

// complete derives values from several flags together, and refuses flags that need https.
func (cfg *Config) complete() error {
	if cfg.Memory {
		cfg.History = retention{} // the tree is lost at the end anyway
	}
	cfg.PublicURLs = append(cfg.PublicURLs, cfg.ACME.PublicURLs(cfg.Addr, cfg.Prefix)...)
	return cfg.checkSecure()
}

// checkSecure refuses flags that need https without it.
func (cfg *Config) checkSecure() error {
	switch {
	case cfg.secure() && strings.HasPrefix(cfg.Addr, listen.UnixPrefix):
		return usagef("--addr %s is a Unix socket, over which proxies speak plain HTTP: leave out --tls-cert and --tls-key, "+
			"or --acme", cfg.Addr)
	case cfg.secure():
		return nil
	case cfg.Redirect != "":
		return usagef("--redirect leads to https, and this server speaks plain HTTP: add --tls-cert and --tls-key, or --acme")
	case cfg.HSTS > 0:
		return usagef("--hsts is about https, and this server speaks plain HTTP: add --tls-cert and --tls-key, or --acme")
	}
	return nil
}

// secure reports whether the server speaks https.
func (cfg *Config) secure() bool { return cfg.TLSCert != "" || len(cfg.ACME.Names) > 0 }

const maxWarmUp = 64

// defaultWarmUp leaves half of the processors to requests.
func defaultWarmUp() int { return min(4, max(1, runtime.NumCPU()/2)) }

// parseEach skips empty values: an environment variable that is set to nothing gives one.
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

func parseDurability(s string) (durability, error) {
	for d := range durabilityNone + 1 {
		if d.String() == s {
			return d, nil
		}
	}
	return 0, usagef("--durability %q is not known: use full (no acknowledged write is lost), data, or none", s)
}

// parsePage reads what a GET of a collection gives.
func parsePage(text string) (web.Mode, error) {
	mode := web.Mode(text)
	if mode != web.Full && mode != web.List && mode != web.Off {
		return "", usagef("--page %s is not known: give full, list, or off", text)
	}
	return mode, nil
}

// parseChoice returns whether the value of a flag is yes. It must be one of two words.
func parseChoice(flag, value, yes, first, second string) (bool, error) {
	if value != first && value != second {
		return false, usagef("--%s %q is not known: use %s or %s", flag, value, first, second)
	}
	return value == yes, nil
}

func parseLevel(s string) (level slog.Level, err error) {
	if level.UnmarshalText([]byte(s)) != nil {
		err = usagef("--log-level %q is not known: use debug, info, warn or error", s)
	}
	return level, err
}

// parseHistory takes how long versions are kept, and a share of the disk ("10%") or a number of bytes ("20GB").
func parseHistory(keep time.Duration, size string) (retention, error) {
	r := retention{Keep: keep}
	if keep < 0 {
		return r, usagef("--history %v is negative: give a duration such as 24h, or 0 to keep nothing", keep)
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
		return r, usagef("--history-size %q: give a size such as 20GB, or a share of the disk such as 10%%; "+
			"--history 0 keeps nothing", size)
	}
	r.Most = int64(bytes)
	return r, nil
}

// parseMode reads a mode as chmod(1) does. A mode with less than least would shut out the server itself.
func parseMode(flag, s string, least, most uint32) (iofs.FileMode, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 32)
	bits := uint32(n)
	if err != nil || bits&^most != 0 || bits&least != least {
		return 0, usagef("--%s %q: write an octal mode from %04o to %04o, with at least the owner's %04o in it",
			flag, s, least, most, least)
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

// parsePublicURL requires that the path of the URL is the prefix: every href in an answer begins with the prefix, and
// clients ignore members outside the URL that they were given.
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

// parseDrain returns a number of bytes for handler.Config, where 0 stands for the default.
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

func parseCache(s string) (int64, error) {
	n, err := parseSize("cache-memory", s)
	if err == nil && n == 0 {
		n = -1
	}
	return n, err
}

// parseAgents returns the patterns of User-Agents in a list with commas.
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
			return nil, usagef("--delete-guard %q: write how the User-Agent begins, such as rclone/*, with commas "+
				"between several; or all, or off", s)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// parseProxies reads the values of --trusted-proxy: addresses, networks, and "unix" for all that come over a Unix socket.
func parseProxies(values []string) (proxies []netip.Prefix, unix bool, err error) {
	unix = slices.Contains(values, "unix")
	proxies, err = parseEach(slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "unix" }), parseProxy)
	return proxies, unix, err
}

func parseProxy(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, usagef("--trusted-proxy %q: write an IP address such as 10.0.0.2, "+
			"a network such as 10.0.0.0/24, or unix", s)
	}
	return network.Masked(), nil
}

// parseSite reads a value of --site.
func parseSite(s string) (site.Site, error) {
	one, err := site.ParseFlag(s)
	if err != nil {
		return one, usagef("--site %q: %v", s, err)
	}
	return one, nil
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
