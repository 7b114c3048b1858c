package clustertest

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
)

// Replicas is how many servers a front has.
const Replicas = 3

// A front stands for a server.
type front struct {
	program  string
	flags    []string // of each server
	addr     string   // where it listens
	dir      string   // the directory that it seems to serve, or ""
	database string   // its address
	objects  string
	turn     Turn

	servers []*replica
	turns   atomic.Uint64
	mirror  *mirror
	output  sync.Mutex // held to write to standard error
}

// A replica is one of the servers.
type replica struct {
	cmd    *exec.Cmd
	scheme string
	addr   string
	path   string
	serves chan struct{} // closed with the banner
	said   strings.Builder
	ended  chan error
}

// Main is the main function of a front.
func Main() {
	runtime.LockOSThread() // the servers die with the thread that has started them
	f, err := newFront(os.Args[2:])
	if err == nil {
		err = f.run()
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ifmatch: the front of a cluster:", err)
		os.Exit(1)
	}
}

func newFront(args []string) (*front, error) {
	f := &front{program: os.Getenv(ProgramVar), addr: "127.0.0.1:0", turn: Turn(os.Getenv(turnVar))}
	if f.program == "" {
		program, err := os.Executable()
		if err != nil {
			return nil, err
		}
		f.program = program
	}
	if addr := os.Getenv("IFMATCH_ADDR"); addr != "" {
		f.addr = addr
	}
	for i := 0; i < len(args); i++ {
		switch last := i == len(args)-1; {
		case args[i] == "--addr" && !last:
			i++
			f.addr = args[i]
		case args[i] == "--memory":
		case last && isDir(args[i]):
			dir, err := filepath.Abs(args[i])
			if err != nil {
				return nil, err
			}
			f.dir = dir
		default:
			f.flags = append(f.flags, args[i])
		}
	}
	key := f.dir
	if key == "" {
		key = rand.Text()
	}
	name := nameOf(key)
	f.database, f.objects = addressOf(name), filepath.Join(os.Getenv(objectsVar), name)
	return f, f.prepare(name)
}

// nameOf returns the name of the database in place of a directory.
func nameOf(dir string) string { return fmt.Sprintf("front%x", sha256.Sum256([]byte(dir)))[:32] }

// addressOf returns the address of a database.
func addressOf(name string) string {
	return strings.Replace(os.Getenv(databaseVar), "DATABASE", name, 1)
}

// Arguments returns the arguments that ifmatch gets in place of those of a command. Its sessions are in the database
// of the directory that they name.
func Arguments(args []string) []string {
	if !IsOn() || len(args) == 0 || args[0] != "sessions" {
		return args
	}
	var changed []string
	for _, arg := range args {
		if dir, err := filepath.Abs(arg); err == nil && isDir(dir) {
			changed = append(changed, "--store", addressOf(nameOf(dir)))
		} else {
			changed = append(changed, arg)
		}
	}
	return changed
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// prepare makes the database, unless an earlier front of the same directory has, and puts the directory into it.
func (f *front) prepare(name string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, addressOf("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "create database "+name)
	var refused *pgconn.PgError
	old := errors.As(err, &refused) && refused.Code == "42P04" // it is there
	if err := conn.Close(ctx); err != nil {
		return err
	}
	if err != nil && !old {
		return err
	}
	objects, err := blobs.NewDir(f.objects)
	if err != nil {
		return err
	}
	store, err := pgstore.Open(ctx, f.database, pgstore.Options{Blobs: objects, MaxConns: 2})
	if err != nil {
		return err
	}
	f.mirror = &mirror{store: store, dir: f.dir}
	if f.dir == "" {
		return nil
	}
	if !old {
		err = f.mirror.load(ctx)
	}
	if err == nil {
		f.mirror.at, err = store.Now(ctx)
	}
	return err
}

// run serves until a signal.
func (f *front) run() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	for range Replicas {
		if err := f.start(); err != nil {
			return err
		}
	}
	for i, r := range f.servers {
		select {
		case <-r.serves:
		case err := <-r.ended:
			if i == 0 {
				_, _ = io.WriteString(os.Stderr, r.said.String())
			}
			return err
		}
	}
	listener, err := net.Listen("tcp", f.addr)
	if err != nil {
		return err
	}
	first, name := f.servers[0], f.dir
	if name == "" {
		name = "memory"
	}
	fmt.Fprintf(os.Stderr, "ifmatch: serving %s at %s://%s%s/\n", name, first.scheme, listener.Addr(), first.path)
	if f.turn == Requests {
		go f.passRequests(listener)
	} else {
		go f.passConnections(listener)
	}
	for s := range signals {
		for _, r := range f.servers {
			if err := r.cmd.Process.Signal(s); err != nil {
				return err
			}
		}
		if s != syscall.SIGHUP {
			break
		}
	}
	for _, r := range f.servers {
		err = errors.Join(err, <-r.ended)
	}
	return err
}

func (f *front) next() *replica { return f.servers[f.turns.Add(1)%uint64(len(f.servers))] }

// start starts a server.
func (f *front) start() error {
	args := []string{"serve", "--store", f.database, "--blobs", "dir://" + f.objects, "--addr", "127.0.0.1:0"}
	args = append(args, f.flags...)
	r := &replica{cmd: exec.Command(f.program, args...), serves: make(chan struct{}), ended: make(chan error, 1)}
	r.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == databaseVar || name == "IFMATCH_ADDR"
	})
	r.cmd.SysProcAttr = dieWithParent()
	said, err := r.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	f.servers = append(f.servers, r)
	go func() {
		f.relay(r, said)
		r.ended <- r.cmd.Wait()
	}()
	return nil
}

var banner = regexp.MustCompile(`^ifmatch: serving (.*) at (https?)://([^/]*)(.*)/$`)

// relay passes on the output of a server, without its banner.
func (f *front) relay(r *replica, said io.Reader) {
	serves := false
	for lines := bufio.NewReader(said); ; {
		line, err := lines.ReadString('\n')
		switch m := banner.FindStringSubmatch(strings.TrimSuffix(line, "\n")); {
		case serves:
			f.output.Lock()
			_, _ = io.WriteString(os.Stderr, line)
			f.output.Unlock()
		case m != nil:
			r.scheme, r.addr, r.path, serves = m[2], m[3], m[4], true
			close(r.serves)
		default:
			r.said.WriteString(line)
		}
		if err != nil {
			return
		}
	}
}
