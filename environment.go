package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// dirVariable is the environment variable for DIR.
const dirVariable = envPrefix + "DIR"

// serviceLinks are the variables that Kubernetes and Docker make up for a service whose name begins with ifmatch.
var serviceLinks = regexp.MustCompile(`^[^=]*(_SERVICE_(HOST|PORT)(_[^=]*)?=|_PORT_\d+_(TCP|UDP|SCTP)(_[^=]*)?=|_PORT=[a-z]+://)`)

// checkEnvironment refuses variables that begin as those of serve do and are none, given as os.Environ has them. With a
// misspelt IFMATCH_USERS a server would have no users, and be open to each client.
func checkEnvironment(environ []string) error {
	known := []string{dirVariable}
	for _, f := range serveFlags() {
		known = append(known, env(f.Names()[0])...)
	}
	var errs []error
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) || serviceLinks.MatchString(variable) {
			continue
		}
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), "_", "-"))
		hint := "unset it (see: ifmatch serve --help)"
		if near := strings.TrimLeft(cli.SuggestFlag(serveFlags(), flag, true), "-"); near != "" {
			hint = "did you mean " + env(near)[0] + "? If not, " + hint
		}
		errs = append(errs, usagef("the environment variable %s is that of no flag: %s", name, hint))
	}
	return errors.Join(errs...)
}
