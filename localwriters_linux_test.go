package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A local program writes each of its versions over one that it has seen to be a client's. None of them may be lost: a
// client has read it, and named it in the write that replaced it; or it is in the history; or it is still there.
type localProgram struct {
	name string
	// write writes version over the file if it holds one of a client. It reports whether it did.
	write func(path string, version []byte) (bool, error)
}

const versionSize = 64

func versionOf(format string, args ...any) []byte {
	return fmt.Appendf(nil, "%-*s\n", versionSize-1, fmt.Sprintf(format, args...))
}

func isClients(content []byte) bool { return len(content) == versionSize && content[0] == 'c' }

// undamaged matches a version as it was written.
var undamaged = regexp.MustCompile(`^(c begins \w+|c\d+ \d+|local \w+ \d+) *\n$`)

// localPrograms returns one of each kind. The one that renames reports the version that it read, and the version that
// it replaced.
func localPrograms(renamed func(read, out []byte)) []localProgram {
	inPlace := func(path string, do func(f *os.File) (bool, error)) (bool, error) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, iofs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		defer f.Close()
		return do(f)
	}
	overClients := func(f *os.File, version []byte) (bool, error) {
		have := make([]byte, versionSize)
		if n, _ := f.ReadAt(have, 0); !isClients(have[:n]) {
			return false, nil
		}
		_, err := f.WriteAt(version, 0)
		return err == nil, err
	}
	return []localProgram{
		{"renames", func(path string, version []byte) (wrote bool, err error) {
			have, err := os.ReadFile(path)
			if err != nil || !isClients(have) {
				return false, nil
			}
			// As a rename over it, except that the replaced version is known.
			staged := path + ".theirs"
			if err := os.WriteFile(staged, version, 0o666); err != nil {
				return false, err
			}
			defer os.Remove(staged)
			if err := unix.Renameat2(unix.AT_FDCWD, staged, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE); err != nil {
				return false, err
			}
			out, err := os.ReadFile(staged)
			renamed(have, out)
			return true, err
		}},
		{"rewrites", func(path string, version []byte) (bool, error) {
			return inPlace(path, func(f *os.File) (bool, error) { return overClients(f, version) })
		}},
		{"holds", func(path string, version []byte) (bool, error) {
			return inPlace(path, func(f *os.File) (wrote bool, err error) {
				for range 200 { // it goes on writing to the opened file, even if that was replaced
					again, err := overClients(f, version)
					wrote = wrote || again
					if err != nil {
						return wrote, err
					}
					if wrote {
						if _, err := f.WriteAt(version, 0); err != nil {
							return true, err
						}
					}
					runtime.Gosched()
				}
				return wrote, nil
			})
		}},
		{"maps", func(path string, version []byte) (bool, error) {
			return inPlace(path, func(f *os.File) (bool, error) {
				if info, err := f.Stat(); err != nil || info.Size() != versionSize {
					return false, err
				}
				memory, err := unix.Mmap(int(f.Fd()), 0, versionSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				if err != nil {
					return false, err
				}
				f.Close() // only the map is left
				wrote := isClients(memory)
				if wrote {
					for range 10 {
						copy(memory, version)
						runtime.Gosched()
					}
				}
				return wrote, unix.Munmap(memory)
			})
		}},
	}
}

// abilitiesOf returns and logs the capabilities of the disk of a directory.
func abilitiesOf(t *testing.T, dir string) volumes.Abilities {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	able := below.Abilities()
	if err := below.Close(); err != nil {
		t.Fatal(err)
	}
	t.Log(able)
	return able
}

// TestLocalProgramsLoseNothing has one program of each kind change a file, each its own, while 16 clients compare and
// swap on the same files, and one of them replaces them unconditionally. Half of them use a second server on the
// directory. It goes on for -contend, and until each program has written.
func TestLocalProgramsLoseNothing(t *testing.T) {
	dir := placeToTry(t)
	able := abilitiesOf(t, dir)
	if !able.Leases || !able.Exchange {
		t.Fatal("this file system promises less")
	}
	var urls [2]string
	var stop []func() error
	for i := range urls {
		s, err := servertest.Start(servertest.Command("--history-size", "90%", dir))
		if err != nil {
			t.Fatal(err)
		}
		urls[i] = s.URL + "/"
		stop = append(stop, sync.OnceValue(func() error { return s.Stop(i == 0) }))
		defer stop[i]()
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()

	l := &locals{
		t: t, client: client, able: able, end: time.Now().Add(*contend), deadline: time.Now().Add(*contend + servertest.Patience),
		wrote: map[string][]string{}, taken: map[string]bool{}, dirty: map[string]string{}, acknowledged: map[string]string{},
		replaced: map[string]int{},
	}
	l.programs = localPrograms(l.renamed)
	var running sync.WaitGroup
	for _, p := range l.programs {
		if status, _, _ := servertest.Send(t, client, "PUT", urls[0]+p.name, string(versionOf("c begins %s", p.name))); status != http.StatusCreated {
			t.Fatalf("PUT: %d", status)
		}
		running.Go(func() { l.run(p, filepath.Join(dir, p.name)) })
	}
	for n := range 16 {
		running.Go(func() { l.swap(n, urls[n%2]) })
	}
	running.Wait()
	for _, stop := range stop {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	l.check(dir)
}

// locals are local programs and clients on the same files, and their records.
type locals struct {
	t             *testing.T
	client        *http.Client
	able          volumes.Abilities
	programs      []localProgram
	end, deadline time.Time

	mu           sync.Mutex
	wrote        map[string][]string // the versions of each local program
	taken        map[string]bool     // the versions that the program that renames has replaced
	dirty        map[string]string   // those of them that were its own, and the version that it had read before
	acknowledged map[string]string   // the file that each version of a client is of
	replaced     map[string]int      // how often a version was named in a write that succeeded
	swapped      int                 // writes that named a version, and succeeded
	refused      int                 // and that did not
	busy         int
	torn         int
	stale        int // answers with the tag of an earlier version
}

// goesOn reports whether there is time left, or a program that has not written yet.
func (l *locals) goesOn() bool {
	now := time.Now()
	if now.Before(l.end) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return (len(l.wrote) < len(l.programs) || l.swapped == 0) && now.Before(l.deadline) && !l.t.Failed()
}

func (l *locals) renamed(read, out []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken[string(out)] = true
	if !isClients(out) {
		l.dirty[string(out)] = string(read)
	}
}

// run runs a local program.
func (l *locals) run(p localProgram, path string) {
	for n := 0; l.goesOn(); {
		version := versionOf("local %s %d", p.name, n)
		wrote, err := p.write(path, version)
		if err != nil {
			l.t.Errorf("%s: %v", p.name, err)
			return
		}
		if wrote {
			l.mu.Lock()
			l.wrote[p.name] = append(l.wrote[p.name], string(version))
			l.mu.Unlock()
			n++
		}
		runtime.Gosched()
	}
}

// swap has a client read a version and replace that, one file after the other. The first one writes without a
// condition.
func (l *locals) swap(client int, url string) {
	for n := 0; l.goesOn(); n++ {
		name := l.programs[n%len(l.programs)].name
		status, tag, have := servertest.Send(l.t, l.client, "GET", url+name, "")
		if status == http.StatusServiceUnavailable {
			continue // it was rewritten each time it was about to be sent
		}
		if status != http.StatusOK {
			l.t.Errorf("GET %s: %d", name, status)
			return
		}
		l.mu.Lock()
		if !undamaged.MatchString(have) {
			l.torn++
			l.t.Errorf("GET %s: %q with the tag %s", name, have, tag)
		} else if tag != "" && tag != string(tree.TagOf(sha256.Sum256([]byte(have)))) {
			l.stale++
			if name != "maps" || l.able.Mappings {
				l.t.Errorf("GET %s: %q with the tag %s", name, have, tag)
			}
		}
		l.mu.Unlock()
		version := string(versionOf("c%d %d", client, n))
		var condition []string
		if client != 0 {
			if tag == "" {
				continue // it was being rewritten
			}
			condition = []string{"If-Match", tag}
		}
		status, _, answer := servertest.Send(l.t, l.client, "PUT", url+name, version, condition...)
		l.mu.Lock()
		switch {
		case status == http.StatusNoContent:
			l.acknowledged[version] = name
			if client != 0 {
				l.replaced[have]++
				l.swapped++
			}
		case status == http.StatusPreconditionFailed && client != 0:
			l.refused++
		case status == http.StatusServiceUnavailable:
			l.busy++
		default:
			l.t.Errorf("PUT %s: %d %s", name, status, answer)
		}
		l.mu.Unlock()
	}
}

// check looks for written versions that are neither there, nor in the history, nor named by the write that replaced
// them.
func (l *locals) check(dir string) {
	below, err := fs.Open(dir, fs.Options{ReadOnly: true})
	if err != nil {
		l.t.Fatal(err)
	}
	defer below.Close()
	kept, err := below.History("")
	if err != nil {
		l.t.Fatal(err)
	}
	there := map[string]bool{}
	for _, k := range kept {
		f, info, err := below.OpenKept(k)
		if err != nil {
			l.t.Fatal(err)
		}
		content, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size))
		f.Close()
		if err != nil || !undamaged.Match(content) || info.Size != versionSize {
			l.torn++
			l.t.Errorf("in the history of %s: %q, error %v", k.Path, content, err)
		}
		there[string(content)] = true
	}
	for _, p := range l.programs {
		content, err := os.ReadFile(filepath.Join(dir, p.name))
		if err != nil || !undamaged.Match(content) {
			l.torn++
			l.t.Errorf("%s is %q now, error %v", p.name, content, err)
		}
		there[string(content)] = true
	}
	var lost, local int
	for _, p := range l.programs {
		local += len(l.wrote[p.name])
		for _, version := range l.wrote[p.name] {
			if l.replaced[version] == 0 && l.dirty[version] == "" && !there[version] {
				lost++
				l.t.Errorf("lost: %s", version)
			}
		}
		if len(l.wrote[p.name]) == 0 {
			l.t.Errorf("%s never wrote", p.name)
		}
	}
	// What clients have written is overwritten by the other programs, which do not say what.
	for version, name := range l.acknowledged {
		if name == "renames" && !l.taken[version] && !there[version] {
			lost++
			l.t.Errorf("lost: %s", version)
		}
	}
	// A program on the disk can read a version that is taken back an instant later, and replaces its own one then.
	for version, read := range l.dirty {
		if l.acknowledged[read] != "" {
			l.t.Errorf("the program that renames has replaced its own %s: it had read %s, which was acknowledged", version, read)
		}
	}
	for version, n := range l.replaced {
		if n > 1 {
			l.t.Errorf("%d writes have replaced %s, which they all named", n, version)
		}
	}
	if l.swapped == 0 {
		l.t.Error("no client has ever written")
	}
	l.t.Logf("%d local versions, %d acknowledged swaps of clients (%d refused, %d busy), %d lost, %d torn, %d stale; %d in the "+
		"history; %d times the program that renames had read what was taken back",
		local, l.swapped, l.refused, l.busy, lost, l.torn, l.stale, len(kept), len(l.dirty))
}
