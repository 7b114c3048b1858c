package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Codes of errors of PostgreSQL, appendix A of its manual.
const (
	codeDivision       = "22012"
	codeUnique         = "23505"
	codeReadOnly       = "25006" // a former primary
	codeSerialization  = "40001"
	codeDeadlock       = "40P01"
	codeDiskFull       = "53100"
	codeOutOfMemory    = "53200"
	codeTooManyConns   = "53300"
	codeLockNotGranted = "55P03"
	codeCanceled       = "57014" // by statement_timeout, or by an administrator
	classConnection    = "08"    // of PostgreSQL, and of a pooler
)

// When a client may try again.
const (
	retryAfterFailover  = 2 * time.Second
	retryAfterBusyWrite = time.Second
)

// code returns the code of an error of the database, or "".
func code(err error) string {
	if answered := new(pgconn.PgError); errors.As(err, &answered) {
		return answered.Code
	}
	return ""
}

// isAway reports whether an error says that the database, or the connection to it, is not there. One that ends the session
// does, whatever its code is: it is no answer to a commit, since that may have happened before.
func isAway(err error) bool {
	answered := new(pgconn.PgError)
	if errors.As(err, &answered) {
		severity := cmp.Or(answered.SeverityUnlocalized, answered.Severity)
		return answered.Code != codeTooManyConns && (severity == "FATAL" || severity == "PANIC" ||
			answered.Code == codeReadOnly || strings.HasPrefix(answered.Code, classConnection))
	}
	connect, network := new(pgconn.ConnectError), new(net.OpError)
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ECONNRESET) || pgconn.SafeToRetry(err)
}

// translate returns the error of the contract that an error of the database stands for. It leaves all others as they
// are.
func translate(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if stored := new(tree.StorageError); errors.As(err, &stored) {
		return err
	}
	failed := func(kind error, hint string, after time.Duration) error {
		return &tree.StorageError{Kind: kind, Hint: hint, RetryAfter: after, Err: err}
	}
	if early := (earlyError{}); errors.As(err, &early) {
		return failed(tree.ErrUnavailable, "the clock of the database is behind what it was, as after a failover; writes wait "+
			"until it has come that far", early.by)
	}
	switch code(err) {
	case codeLockNotGranted:
		return failed(tree.ErrBusy, "another write holds the name for long; try again", retryAfterBusyWrite)
	case codeOutOfMemory, codeTooManyConns:
		return failed(tree.ErrBusy, "the database has too much to do; try again", retryAfterBusyWrite)
	case codeSerialization, codeDeadlock:
		return failed(tree.ErrBusy, "too many writes change the same names; try again", retryAfterBusyWrite)
	case codeCanceled:
		return failed(tree.ErrBusy, "a statement was ended, by statement_timeout or an administrator; try again", retryAfterBusyWrite)
	case codeDiskFull:
		return failed(tree.ErrNoSpace, "the disk of the database is full; remove files, or enlarge it", 0)
	}
	if isAway(err) || errors.Is(err, context.DeadlineExceeded) {
		return failed(tree.ErrUnavailable, "the database does not answer; try again", retryAfterFailover)
	}
	if code(err) != "" {
		return failed(tree.ErrFailed, "the database has refused a statement; the log says why", 0)
	}
	return err
}

// stored returns the error of the contract that an error of the place for objects stands for, and counts it.
func (s *Store) stored(err error) error {
	translated := stored(err)
	if errors.Is(translated, tree.ErrUnavailable) && !errors.As(err, new(*tree.StorageError)) {
		s.objectFailures.Add(1)
	}
	return translated
}

func stored(err error) error {
	switch contract := new(tree.StorageError); {
	case err == nil || errors.As(err, &contract) || errors.As(err, new(*tree.BodyError)):
		return err
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, blobs.ErrBusy):
		return &tree.StorageError{Kind: tree.ErrBusy, RetryAfter: retryAfterFailover, Err: err,
			Hint: "too many large files are on their way to this server; try again"}
	case errors.Is(err, errors.ErrUnsupported):
		return &tree.StorageError{Kind: tree.ErrTooLarge, Err: err,
			Hint: "the content is too large for the place of objects"}
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return &tree.StorageError{Kind: tree.ErrNoSpace, Err: err,
			Hint: "the place for large contents is full; remove files, or enlarge it"}
	}
	return &tree.StorageError{Kind: tree.ErrUnavailable, RetryAfter: retryAfterFailover, Err: err,
		Hint: "the place for large contents does not work; try again"}
}

// errUnknown is in the error of a write that may have happened.
var errUnknown = errors.New("the outcome is not known")

// about adds the name to an error of the contract.
func about(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", name, err)
}

// A refusal is the error of a Check, which the caller gets as it is.
type refusal struct{ err error }

func (r refusal) Error() string { return r.err.Error() }
