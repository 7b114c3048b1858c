package settings

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"

	"github.com/urfave/cli/v2"
)

// Prefix begins the variables.
const Prefix = "IFMATCH_"

// Variables returns the environment variable that stands for a flag.
func Variables(flag string) []string {
	return []string{Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))}
}

// DirVariable is the environment variable for DIR.
const DirVariable = Prefix + "DIR"

// serviceLinks are the variables that Kubernetes and Docker make up for a service whose name begins with ifmatch.
var serviceLinks = regexp.MustCompile(`^[^=]*(_SERVICE_(HOST|PORT)(_[^=]*)?=|_PORT_\d+_(TCP|UDP|SCTP)(_[^=]*)?=|_PORT=[a-z]+://)`)

// CheckEnvironment refuses variables that begin as those of serve do and are none, given as os.Environ has them. With a
// misspelt IFMATCH_USERS a server would have no users, and be open to each client.
func CheckEnvironment(environ []string, flags []cli.Flag) error {
	known := []string{DirVariable}
	for _, f := range flags {
		known = append(known, Variables(f.Names()[0])...)
	}
	var errs []error
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, Prefix) || slices.Contains(known, name) || serviceLinks.MatchString(variable) {
			continue
		}
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, Prefix), "_", "-"))
		hint := "unset it (see: ifmatch serve --help)"
		if near := strings.TrimLeft(cli.SuggestFlag(flags, flag, true), "-"); near != "" {
			hint = "did you mean " + Variables(near)[0] + "? If not, " + hint
		}
		errs = append(errs, usage.Errorf("the environment variable %s is that of no flag: %s", name, hint))
	}
	return errors.Join(errs...)
}
