//go:build unix

package transfer

import (
	iofs "io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/pkg/xattr"
)

// nonblock keeps an open from waiting where a pipe has come in place of a file.
const nonblock = syscall.O_NONBLOCK

// ours is the attribute with the dead properties of a file that a server has kept.
const ours = "user.ifmatch.props"

// attributesOf reports whether a file has dead properties, and names the other things that a store does not keep, or
// "".
func attributesOf(f *os.File, info iofs.FileInfo) (properties bool, lost string) {
	var all []string
	names, err := xattr.FList(f)
	if err != nil {
		names = nil // the file system has none
	}
	for _, name := range names {
		switch {
		case name == ours:
			properties = true
		case strings.HasPrefix(name, "user.ifmatch."), name == "security.selinux":
		case strings.HasPrefix(name, "system.posix_acl_"):
			all = append(all, "an ACL")
		default:
			all = append(all, "the attribute "+name)
		}
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() && stat.Nlink > 1 {
		all = append(all, "other names (hard links), which become files of their own")
	}
	if special := info.Mode() & (iofs.ModeSetuid | iofs.ModeSetgid); special != 0 && info.Mode().IsRegular() {
		all = append(all, "the mode "+special.String())
	}
	if len(all) == 0 {
		return properties, ""
	}
	return properties, "is taken without " + strings.Join(all, ", ")
}
