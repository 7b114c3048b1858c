package main

import (
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary stand in for the program: a script that runs ifmatch runs main in a process of its
// own, with the race detector where the tests have it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ifmatch": main})
}

// TestScript runs the conversations in testdata/script. Besides the commands of testscript (whose own stop and kill do
// something else) they have
//
//	serve [FLAG]... [DIR]   start a server on a free port; $ADDR is its address, $URL where it serves (no slash at the end).
//	                        If $WATCHES is set, it has so many of inotify's watches; under [mounts]
//	log REGEXP              wait until the server has written a line that matches to its standard error
//	ask                     send SIGTERM, and do not wait
//	shutdown                send SIGTERM unless that was done; the server must exit with 0 and leave no litter behind;
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
//	conn NAME open FILE     connect unless that was done, and send FILE (see below); where it has "Expect: 100-continue",
//	                        wait for the 100, or for the answer that comes instead
//	conn NAME send =TEXT    send some more; <FILE sends a file as it is
//	conn NAME end           close the sending half
//	conn NAME answer        wait for an answer, and print it as http does; "! conn" means that none comes
//	conn NAME close         close the connection
//	tmpfs DIR SIZE          make a file system of its own, such as 64m, for DIR; under [mounts]
//	folding DIR RULES       mount a file system on DIR that takes several names for one, by such rules; under [fuse]
//	rot FILE                change a byte of FILE while no time stamp tells; on tmpfs
//	fill PATH SIZE          PUT files of SIZE bytes, named PATH and a number, until one is refused
//	raw FILE                open, answer and close in one: for what net/http would not send
//
// A FILE that is sent this way has its header lines ended with CRLF and loses the newline at its end, so that it can be
// written in a script.
//
// Nothing sleeps: each command waits for what it is about, and fails after patience. A server that still runs when a
// script ends is stopped as by shutdown. On failure its standard error is shown.
func TestScript(t *testing.T) { testscript.Run(t, scripts("testdata/script")) }

// TestRecordedClients replays the conversations of clients that cannot run where the tests do, as their sources, or those
// who watched them, tell of them; each script names what it follows.
func TestRecordedClients(t *testing.T) { testscript.Run(t, scripts("testdata/script/clients")) }

// scripts returns how the scripts of a directory run.
func scripts(dir string) testscript.Params {
	return testscript.Params{
		Dir:             dir,
		Condition:       condition,
		ContinueOnError: true, // a conversation goes on, and so does its test
		Setup: func(env *testscript.Env) error {
			s := &servers{t: env.T()}
			c := &client{conns: map[string]*conversation{}}
			// The race detector makes each process wait a second at its end, for goroutines that none of ours leaves.
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			env.Values[serversKey{}] = s
			env.Values[clientKey{}] = c
			env.Defer(func() { c.closeAll(); s.stopAll() })
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
			"fill":        cmdFill,
			"rot":         cmdRot,
		},
	}
}

// patience is how long a command waits for what must come. It is never used up where the program works.
const patience = 30 * time.Second

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}
