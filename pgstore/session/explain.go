package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// advice has a remedy for each of some errors of PostgreSQL at the start of a program, by their codes (appendix A of its manual).
var advice = map[string]string{
	"25006": "this is a standby: name the primary, or all hosts and target_session_attrs=read-write",
	"28000": "look at the user in --store, and at pg_hba.conf of the database",
	"28P01": "look at the user in --store, and at the password in PGPASSFILE",
	"3D000": "make the database first, with createdb",
	"42501": "grant it to the role, or let the owner of the database run ifmatch cluster init, and grant the " +
		"tables and sequences (docs/cluster.md)",
	"53300": "raise max_connections, or have fewer replicas",
}

// noTree are the codes of a schema or a table that is not there.
var noTree = []string{"3F000", "42P01"}

// An explained error has a text with a remedy.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// Explain returns an error of the database, at the start of a program, with a remedy. It returns others as they
// are.
func Explain(err error) error {
	answered, connect := new(pgconn.PgError), new(pgconn.ConnectError)
	switch isAnswer := errors.As(err, &answered); {
	case isAnswer && slices.Contains(noTree, answered.Code):
		return &explained{"the database has no tree: make one with ifmatch cluster init", err}
	case isAnswer && advice[answered.Code] != "":
		return &explained{fmt.Sprintf("the database says: %s: %s", answered.Message, advice[answered.Code]), err}
	case errors.As(err, &connect):
		return &explained{"the database cannot be reached: " + oneLine(connect.Error()) +
			": start it, or look at the address in --store", err}
	}
	return err
}

// oneLine puts the tries of a connection into one line, each once. One with TLS that is followed by one without says
// nothing.
func oneLine(text string) string {
	var tries []string
	first, rest, _ := strings.Cut(text, "\n")
	for try := range strings.SplitSeq(rest, "\n") {
		try = strings.TrimSpace(try)
		if try != "" && !slices.Contains(tries, try) && !strings.HasSuffix(try, "server refused TLS connection") {
			tries = append(tries, try)
		}
	}
	return strings.TrimSpace(first + " " + strings.Join(tries, "; "))
}
