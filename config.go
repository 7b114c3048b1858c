package main

import (
	iofs "io/fs"
	"log/slog"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/internal/certificate"
	"r-seed-1f3a754f.example/ifmatch/listen"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/settings"
	"r-seed-1f3a754f.example/ifmatch/shares/layout"
	"r-seed-1f3a754f.example/ifmatch/site"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// Config is the configuration of a server. [configOf] makes one from the command line.
type Config struct {
	// The settings of the handler. [newHandler] adds those that no flag has alone.
	handler.Config

	Dir       string         // the served directory, ignored with Memory
	Shares    []layout.Share // directories that are served in place of Dir, each at its path
	Quotas    []limits.Limit // on paths, of any share
	Memory    bool           // serve a new tree in memory instead of Dir
	Database  string         // the address of the database with the tree, in place of Dir
	Blobs     string         // the address of its large contents
	BlobGrace time.Duration  // for which an object without a name is kept

	shared      sharedState // by all replicas with Database
	WholeSystem bool        // Dir may be the root of the file system
	ExpectState bool        // Dir was served before: see checkExpected
	StateDir    string      // the directory of the index ("": in Dir)
	Durability  durability
	History     retention // of replaced and removed versions
	// PublishGrace is how long files that a publication has displaced are answered, on sites that do not say.
	PublishGrace time.Duration
	// Modes of new files and collections (0: by the umask).
	FileMode, DirMode iofs.FileMode

	WarmUp int           // files hashed at once ahead of requests (0: none)
	Watch  bool          // let the operating system report changes by other programs
	Rescan time.Duration // time between two searches for changes (0: no searches)

	NoSendfile bool // see etagfs.Options

	Addr            string // host:port, where port 0 picks a free one, or unix:path
	TLSCert, TLSKey string // PEM files: both, or neither for plain HTTP
	H2C             bool   // HTTP/2 without TLS on any address, and not only on loopback addresses
	CacheMemory     int64  // for ETags and small contents, in bytes (negative: no contents)
	Limits          Limits
	Live            *liveLimits   // those that are in force now (nil: Limits)
	DepthInfinity   int           // most members in a PROPFIND with Depth: infinity
	Grace           time.Duration // for running requests when the server stops

	ConfigFile string // the configuration file ("": none)
	// The settings of that file, and the limits that it cannot change, see fixedLimits.
	settings    *settings.File
	fixedLimits map[string]string

	Access auth.Options // users and rules, of which Auth is made

	Pprof    string // host:port or unix:path of the listener for profiles ("": none)
	AuditLog string // a file with a line for each change ("": none)

	LogJSON     bool
	LogLevel    slog.Level
	LogRequests bool // a line for each request

	ACME     certificate.ACME
	Redirect string        // host:port of the listener that leads to https ("": none)
	HSTS     time.Duration // for how long browsers are told to use https (0: the header is left out)

	Passed listen.Passed // sockets of systemd, which override Addr and Admin

	Admin      string           // HOST:PORT of the admin listener, or unix:PATH ("": none)
	AdminHosts []string         // names by which other machines may call it
	Monitor    *monitor.Monitor // its state (nil: there is no admin listener)
}

// validate refuses flags that contradict each other or are out of range. hasDir: DIR was given.
func (cfg *Config) validate(hasDir bool) error {
	switch {
	case cfg.Dir == "":
		return usagef("DIR is empty: name the directory to serve, or leave it out to serve this one")
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
	case cfg.Exchange.DrainTime <= 0:
		return usagef("--drain-time %v is too short: give a duration such as 1m; --drain-size 0 reads nothing",
			cfg.Exchange.DrainTime)
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

func parseDurability(s string) (durability, error) {
	for d := range durabilityNone + 1 {
		if d.String() == s {
			return d, nil
		}
	}
	return 0, usagef("--durability %q is not known: use full (no acknowledged write is lost), data, or none", s)
}

// parsePage reads which page a GET of a collection gives.
func parsePage(text string) (web.Mode, error) {
	mode := web.Mode(text)
	if mode != web.Full && mode != web.List && mode != web.Off {
		return "", usagef("--page %s is not known: give full, list, or off", text)
	}
	return mode, nil
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

// parseSite reads a value of --site.
func parseSite(s string) (site.Site, error) {
	one, err := site.ParseFlag(s)
	if err != nil {
		return one, usagef("--site %q: %v", s, err)
	}
	return one, nil
}
