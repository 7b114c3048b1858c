package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
)

// A database is a running PostgreSQL that writes to its disk as by default.
type database struct{ *pgtest.Server }

func startDatabase(dir string) (*database, error) {
	old := os.Getenv("TMPDIR")
	defer os.Setenv("TMPDIR", old)
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return nil, err
	}
	s, err := pgtest.Start("fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=4GB")
	return &database{s}, err
}

// A place is a served tree.
type place struct {
	name     string
	cmd      *exec.Cmd
	url      string
	client   *http.Client
	database *database // nil: a directory
	store    string    // the address of the database
}

func (b *bench) directory(ctx context.Context) (*place, error) {
	root := filepath.Join(b.dir, "tree")
	err := os.MkdirAll(root, 0o755)
	for _, c := range b.collections() {
		if err == nil {
			err = os.MkdirAll(filepath.Join(root, c.path), 0o755)
		}
		for i := 0; i < c.files && err == nil; i++ {
			err = os.WriteFile(filepath.Join(root, c.path, memberName(i)), content(i), 0o644)
		}
	}
	if err != nil {
		return nil, err
	}
	return b.serve(ctx, &place{name: "directory"}, b.binary, root)
}

// replica serves a database that has its name.
func (b *bench) replica(ctx context.Context, d *database, name, binary string) (*place, error) {
	p := &place{name: name, database: d, store: d.DSN(name)}
	if err := d.exec(ctx, "postgres", "create database "+name); err != nil {
		return nil, err
	}
	p, err := b.serve(ctx, p, binary, "--store", p.store, "--blobs", "dir://"+filepath.Join(b.dir, "blobs-"+name))
	if err != nil {
		return nil, err
	}
	return p, errors.Join(b.fill(ctx, p.store), d.exec(ctx, name, "vacuum analyze"))
}

func (d *database) exec(ctx context.Context, name, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, d.DSN(name))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql, args...)
	return err
}

var serving = regexp.MustCompile(`ifmatch: serving .* at (http://[^/]*)/`)

// serve starts the program.
func (b *bench) serve(ctx context.Context, p *place, binary string, args ...string) (*place, error) {
	all := append([]string{"serve", "--addr", "127.0.0.1:0", "--access-log", "off", "--depth-infinity", "1000000"}, args...)
	p.cmd = exec.CommandContext(ctx, binary, all...)
	log, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(log)
	var said bytes.Buffer
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if m := serving.FindStringSubmatch(lines.Text()); m != nil {
			p.url = m[1]
			break
		}
	}
	go io.Copy(b.log, log)
	if p.url == "" {
		return nil, errors.Join(fmt.Errorf("%s does not start: %s", p.name, said.String()), p.cmd.Wait())
	}
	p.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	return p, nil
}

func (p *place) stop() {
	p.client.CloseIdleConnections()
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait()
}

// A cpu is time on a processor.
type cpu struct{ server, database time.Duration }

func (c cpu) less(before cpu) cpu {
	return cpu{c.server - before.server, c.database - before.database}
}

func (p *place) cpu() (c cpu) {
	c.server = cpuOf(p.cmd.Process.Pid)
	if p.database != nil {
		c.database = cpuOf(p.database.Pid())
	}
	return c
}

// tick is the unit of times in /proc.
const tick = 10 * time.Millisecond

// cpuOf returns the time that a process and those that it has started have run.
func cpuOf(root int) (sum time.Duration) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	parents, times := map[int]int{}, map[int]time.Duration{}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		at := bytes.LastIndexByte(text, ')') // the name before it may have any bytes
		if err != nil || at < 0 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		fields := strings.Fields(string(text[at+1:]))
		parents[pid], _ = strconv.Atoi(fields[1])
		for _, field := range fields[11:15] { // utime, stime, and those of children that have ended
			n, _ := strconv.Atoi(field)
			times[pid] += time.Duration(n) * tick
		}
	}
	for pid, t := range times {
		for at := pid; at > 1; at = parents[at] {
			if at == root {
				sum += t
				break
			}
		}
	}
	return sum
}
