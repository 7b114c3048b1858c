// Package values reads the values of flags, of the environment and of the configuration file. Its errors are those of
// package usage, and say how to correct a value.
package values

import (
	iofs "io/fs"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

func Prefix(s string) (string, error) {
	if s == "" || s == "/" {
		return "", nil
	}
	if s[0] != '/' {
		return "", usage.Errorf("--prefix %q: begin it with a slash, as in /dav", s)
	}
	prefix := "/" + strings.TrimSuffix(s[1:], "/")
	if err := tree.CheckName(prefix[1:]); err != nil || prefix == "/" || strings.ContainsAny(prefix, "?#%\\") {
		return "", usage.Errorf("--prefix %q: write a plain path such as /dav or /my/files", s)
	}
	return prefix, nil
}

// Choice returns whether the value of a flag is yes. It must be one of two words.
func Choice(flag, value, yes, first, second string) (bool, error) {
	if value != first && value != second {
		return false, usage.Errorf("--%s %q is not known: use %s or %s", flag, value, first, second)
	}
	return value == yes, nil
}

func Level(s string) (level slog.Level, err error) {
	if level.UnmarshalText([]byte(s)) != nil {
		err = usage.Errorf("--log-level %q is not known: use debug, info, warn or error", s)
	}
	return level, err
}

// Mode reads a mode as chmod(1) does. A mode with less than least would shut out the server itself.
func Mode(flag, s string, least, most uint32) (iofs.FileMode, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 32)
	bits := uint32(n)
	if err != nil || bits&^most != 0 || bits&least != least {
		return 0, usage.Errorf("--%s %q: write an octal mode from %04o to %04o, with at least the owner's %04o in it",
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

// PublicURL requires that the path of the URL is the prefix: every href in an answer begins with the prefix, and
// clients ignore members outside the URL that they were given.
func PublicURL(prefix string) func(string) (*url.URL, error) {
	return func(s string) (*url.URL, error) {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return nil, usage.Errorf("--public-url %q: write a whole URL such as https://files.example", s)
		}
		if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			return nil, usage.Errorf("--public-url %q: leave out the user, the query and the fragment", s)
		}
		if path := strings.TrimSuffix(u.Path, "/"); path != "" && path != prefix {
			return nil, usage.Errorf("--public-url %q: its path is not that of --prefix %q: make them the same, "+
				"and let a proxy pass the path on as it is", s, prefix)
		}
		return u, nil
	}
}

// Agents returns the patterns of User-Agents in a list with commas.
func Agents(s string) (patterns []string, err error) {
	switch s = strings.TrimSpace(s); s {
	case "all":
		return []string{"*"}, nil
	case "off", "":
		return nil, nil
	}
	for pattern := range strings.SplitSeq(s, ",") {
		pattern = strings.TrimSpace(pattern)
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return nil, usage.Errorf("--delete-guard %q: write how the User-Agent begins, such as rclone/*, with commas "+
				"between several; or all, or off", s)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// Proxies reads the values of --trusted-proxy: addresses, networks, and "unix" for all that come over a Unix socket.
func Proxies(values []string) (proxies []netip.Prefix, unix bool, err error) {
	unix = slices.Contains(values, "unix")
	proxies, err = Each(slices.DeleteFunc(slices.Clone(values), func(s string) bool { return s == "unix" }), proxy)
	return proxies, unix, err
}

func proxy(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, usage.Errorf("--trusted-proxy %q: write an IP address such as 10.0.0.2, "+
			"a network such as 10.0.0.0/24, or unix", s)
	}
	return network.Masked(), nil
}

// Origin returns an origin as a browser writes it in the Origin header (RFC 6454 §6.2).
func Origin(s string) (string, error) {
	switch s {
	case "*":
		return "", usage.Errorf(`--cors-origin "*" would let every web page that a user of this network visits ` +
			"read and write the files: list the origins that may")
	case "null":
		return "", usage.Errorf(`--cors-origin "null" is what any page in a sandboxed frame can claim to be: ` +
			"serve your page from a real origin and list that")
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.Contains(u.Host, "*") || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", usage.Errorf("--cors-origin %q: write scheme://host[:port] and nothing else, such as https://app.example", s)
	}
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"http": ":80", "https": ":443"} {
		if u.Scheme == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	return u.Scheme + "://" + strings.TrimSuffix(host, ":"), nil
}

// Each skips empty values: an environment variable that is set to nothing gives one.
func Each[T any](values []string, parse func(string) (T, error)) (all []T, err error) {
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

// Size reads a number of bytes, such as 10GB.
func Size(flag, s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return 0, usage.Errorf("--%s %q: give a size such as 10GB, or 0", flag, s)
	}
	return int64(n), nil
}

// Drain returns a number of bytes for handler.Config, where 0 stands for the default.
func Drain(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	switch {
	case err != nil || n > math.MaxInt64:
		return 0, usage.Errorf("--drain-size %q: give a size such as 1GB, or 0 to read nothing", s)
	case n == 0:
		return -1, nil
	}
	return int64(n), nil
}

func Cache(s string) (int64, error) {
	n, err := Size("cache-memory", s)
	if err == nil && n == 0 {
		n = -1
	}
	return n, err
}
