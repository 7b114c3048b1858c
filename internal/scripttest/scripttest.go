// Package scripttest runs conversations with servers, written as scripts for package testscript. Beside the commands
// of testscript, whose stop and kill have other meanings, scripts have
//
//	serve [FLAG]... [DIR]   start a server on a free port. $ADDR is its address, $URL its URL without a slash at the end.
//	                        If $WATCHES is set, it is the number of inotify watches; under [mounts]
//	log REGEXP              wait until the server has written a line that matches to its standard error
//	ask                     send SIGTERM, and do not wait
//	shutdown                send SIGTERM unless ask did; the server must exit with 0 and leave no staged files;
//	                        "! shutdown": it must fail
//	hangup                  send SIGHUP
//	crash                   send SIGKILL
//	certificate CERT KEY    make a self-signed certificate for 127.0.0.1
//
//	http METHOD TARGET [-h2] [Header:value]... [<FILE | =TEXT] [>FILE]
//	                        send one request on a connection of its own and print the answer: the status, the headers in
//	                        alphabetical order, a blank line, the body (or write that to FILE). TARGET goes out exactly as
//	                        it is written, and so do the headers. With "Transfer-Encoding:chunked" the body is chunked;
//	                        -h2 speaks HTTP/2, with TLS or without. TARGET may be a whole URL, for another server than the last.
//	                        "! http" means that no answer comes.
//	capture NAME Header     set $NAME to a header of the last answer
//
//	conn NAME open FILE     connect unless connected, and send FILE (see below); with "Expect: 100-continue",
//	                        wait for the 100, or for the answer that comes instead
//	conn NAME send =TEXT    send some more; <FILE sends a file as it is
//	conn NAME end           close the sending half
//	conn NAME answer        wait for an answer, and print it as http does; "! conn" means that none comes
//	conn NAME close         close the connection
//	tmpfs DIR SIZE          mount a tmpfs of SIZE, such as 64m, on DIR; under [mounts]
//	folding DIR RULES       mount a file system on DIR that folds names by RULES; under [fuse]
//	freeze DIR, thaw DIR    stop the daemon of that file system, and have it go on
//	rot FILE                change a byte of FILE without a new time stamp; on tmpfs
//	fill PATH SIZE          PUT files of SIZE bytes, named PATH and a number, until one is refused
//	raw FILE                open, answer and close in one, for requests that net/http would not send
//
// A FILE that conn or raw sends gets CRLF at the end of its header lines and loses the newline at its end, so that a
// script can contain it.
//
// No command sleeps. Each waits for its event, for at most [servertest.Patience]. At the end of a script every running
// server is stopped as by shutdown, and on failure its standard error is shown.
package scripttest

import (
	"github.com/rogpeppe/go-internal/testscript"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// Params returns how to run the scripts of a directory. variables are the environment variables, besides PATH and the
// like, that servers see.
func Params(dir string, variables []string) testscript.Params {
	return testscript.Params{
		Dir:             dir,
		Condition:       condition,
		ContinueOnError: true, // later failures of a conversation are reported too
		Setup: func(env *testscript.Env) error {
			s := &servers{t: env.T(), variables: variables}
			c := &client{conns: map[string]*servertest.Conversation{}}
			// The race detector makes each process wait a second at its end for goroutines of a kind that we do not
			// have.
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			env.Values[serversKey{}] = s
			env.Values[clientKey{}] = c
			d := daemons{}
			env.Values[daemonsKey{}] = d
			env.Defer(func() { d.thaw(); c.closeAll(); s.stopAll(); d.end() })
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve":       cmdServe,
			"log":         cmdLog,
			"logged":      cmdLogged,
			"ask":         cmdAsk,
			"shutdown":    cmdShutdown,
			"hangup":      cmdHangup,
			"crash":       cmdCrash,
			"http":        cmdHTTP,
			"capture":     cmdCapture,
			"conn":        cmdConn,
			"raw":         cmdRaw,
			"certificate": cmdCertificate,
			"tmpfs":       cmdTmpfs,
			"mount":       cmdMount,
			"folding":     cmdFolding,
			"freeze":      cmdFreeze,
			"thaw":        cmdThaw,
			"fill":        cmdFill,
			"rot":         cmdRot,
		},
	}
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}
