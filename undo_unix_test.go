//go:build unix

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	iofs "io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

var undoFiles = flag.Int("undo-files", 120, "how many files an accident is about, in TestRestoreAfterAccidents")

// filesOf returns the content of each file below a directory, and "/" for each collection, by name.
func filesOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case e.Name() == stateName:
			return filepath.SkipDir
		case e.IsDir():
			found[name] = "/"
			return nil
		}
		data, err := os.ReadFile(path)
		found[name] = "=" + string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// treeDifferences returns how many names differ between two trees, and names some of them.
func treeDifferences(got, want map[string]string) (n int, some []string) {
	for name, content := range got {
		if want[name] != content {
			n++
			some = append(some, fmt.Sprintf("%s is %.30q, not %.30q", name, content, want[name]))
		}
	}
	for name, content := range want {
		if _, ok := got[name]; !ok {
			n++
			some = append(some, fmt.Sprintf("%s is gone, and was %.30q", name, content))
		}
	}
	slices.Sort(some)
	return n, some[:min(len(some), 5)]
}

// A davRequest is a request of a client that makes a mistake.
type davRequest struct{ method, name, body, to string }

// accidents are the requests of clients that people have, which make a mistake with files in directories.
func accidents() map[string]func(files, dirs []string) []davRequest {
	inOrder := func(files, dirs []string) (all []davRequest) { // as rm -r does it in a mount
		for _, d := range slices.Backward(dirs) {
			for _, f := range files {
				if filepath.Dir(f) == d {
					all = append(all, davRequest{method: "DELETE", name: f})
				}
			}
			all = append(all, davRequest{method: "DELETE", name: d + "/"})
		}
		return all
	}
	return map[string]func(files, dirs []string) []davRequest{
		"rclone syncs an empty folder": func(files, dirs []string) (all []davRequest) {
			for _, f := range files {
				all = append(all, davRequest{method: "DELETE", name: f})
			}
			for _, d := range slices.Backward(dirs) {
				all = append(all, davRequest{method: "DELETE", name: d + "/"})
			}
			return all
		},
		"rm -r in a mount": inOrder,
		"a wrong MOVE over another folder, and work in its place": func(files, dirs []string) (all []davRequest) {
			all = []davRequest{{method: "MOVE", name: dirs[0] + "/", to: "other/"}, {method: "MKCOL", name: dirs[0] + "/"}}
			for i := range files[:len(files)/4] {
				all = append(all, davRequest{method: "PUT", name: fmt.Sprintf("%s/new %d", dirs[0], i), body: "by mistake"})
			}
			return append(all, davRequest{method: "MOVE", name: "other/" + filepath.Base(files[0]), to: "moved"})
		},
		"a script overwrites everything": func(files, _ []string) (all []davRequest) {
			for i, f := range files {
				all = append(all, davRequest{method: "PUT", name: f, body: fmt.Sprint("overwritten ", i)})
			}
			return all
		},
	}
}

// TestRestoreAfterAccidents: after an accident during which the server is killed, and after a restore that is killed at
// any time beside the server, another restore makes the tree what it was at a time before, byte for byte. A restore as of
// the time that this one has named takes it back.
func TestRestoreAfterAccidents(t *testing.T) {
	places := map[string]string{"": ""}
	if info, err := os.Stat("/dev/shm"); *place == "" && err == nil && info.IsDir() {
		places["tmpfs"] = "/dev/shm"
	}
	for kind, dir := range places {
		for name, mistake := range accidents() {
			t.Run(strings.TrimSpace(kind+" "+name), func(t *testing.T) {
				if kind != "" {
					made, err := os.MkdirTemp(dir, "ifmatch-undo-")
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { os.RemoveAll(made) })
					restoreAfter(t, made, mistake)
					return
				}
				restoreAfter(t, placeToTry(t), mistake)
			})
		}
	}
}

// A trial is a server, and what was in its directory before an accident.
type trial struct {
	*testing.T
	dir         string
	server      *servertest.Server
	client      *http.Client
	files, dirs []string
	before      map[string]string
}

func (t *trial) start() {
	t.Helper()
	server, err := servertest.Start(servertest.Command("--durability", "none", t.dir))
	if err != nil {
		t.Fatal(err)
	}
	t.server = server
}

func (t *trial) url(name string) string {
	return t.server.URL + "/" + strings.ReplaceAll(name, " ", "%20")
}

func (t *trial) send(r davRequest) (*http.Response, error) {
	request, err := http.NewRequest(r.method, t.url(r.name), strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.to != "" {
		request.Header.Set("Destination", t.url(r.to))
	}
	answer, err := t.client.Do(request)
	if err == nil {
		answer.Body.Close()
	}
	return answer, err
}

func (t *trial) must(r davRequest) {
	t.Helper()
	if answer, err := t.send(r); err != nil || answer.StatusCode >= 300 {
		t.Fatalf("%+v: %v, %v", r, answer, err)
	}
}

// fill makes the files and directories that the accident is about.
func (t *trial) fill() {
	t.dirs = []string{"d", "d/one", "d/one/deep", "d/two", "d/empty"}
	for _, d := range append(t.dirs, "other") {
		t.must(davRequest{method: "MKCOL", name: d + "/"})
	}
	for i := range *undoFiles {
		name := fmt.Sprintf("%s/file %d", t.dirs[i%4], i)
		t.files = append(t.files, name)
		t.must(davRequest{method: "PUT", name: name, body: strings.Repeat(fmt.Sprintln("content", i), i%200)})
		if i%3 == 0 {
			t.must(davRequest{method: "PUT", name: name, body: fmt.Sprint("second ", i)})
		}
	}
	t.must(davRequest{method: "PUT", name: "other/kept", body: "kept"})
	t.before = filesOf(t, t.dir)
}

// sendAll sends requests. The server is killed during one of them, and the client sends that again.
func (t *trial) sendAll(requests []davRequest) {
	for i, r := range requests {
		if i != len(requests)/3 {
			t.must(r)
			continue
		}
		done := inBackground(func() { t.send(r) }) // its answer may or may not come
		if err := t.server.Kill(); err != nil {
			t.Fatal(err)
		}
		<-done
		t.client.CloseIdleConnections()
		t.start()
		answer, err := t.send(r)
		isDone := err == nil && r.method != "PUT" &&
			(answer.StatusCode == http.StatusNotFound || answer.StatusCode == http.StatusMethodNotAllowed)
		if err != nil || answer.StatusCode >= 300 && !isDone {
			t.Fatalf("%+v again: %v, %v", r, answer, err)
		}
	}
}

// restoreHalf kills a restore as soon as it has done something.
func (t *trial) restoreHalf(at string) {
	total, _ := treeDifferences(filesOf(t, t.dir), t.before)
	if total == 0 {
		t.Fatal("nothing has changed")
	}
	command := restoreCommand(t.dir, at)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := inBackground(func() { command.Wait() })
	for {
		select {
		case <-ended:
			return
		default:
		}
		if n, _ := treeDifferences(filesOfMoving(t.dir), t.before); n < total {
			command.Process.Kill()
			<-ended
			return
		}
	}
}

func (t *trial) wantAsBefore(what string) {
	t.Helper()
	if n, some := treeDifferences(filesOf(t, t.dir), t.before); n > 0 {
		t.Fatalf("%d names differ: %q\n%s\n%s", n, some, what, t.server.Log)
	}
	for name, content := range t.before {
		if content == "/" {
			continue
		}
		if _, got := servertest.Want(t, t.client, 200, "GET", t.url(name), ""); "="+got != content {
			t.Fatalf("the server says of %s: %.30q, and it was %.30q", name, got, content)
		}
	}
}

func restoreAfter(test *testing.T, dir string, mistake func(files, dirs []string) []davRequest) {
	t := &trial{T: test, dir: dir, client: servertest.Client(test)}
	t.start()
	defer func() { t.server.Stop(false) }()
	t.fill()
	at := time.Now().Format(time.RFC3339Nano)
	t.sendAll(mistake(t.files, t.dirs))
	t.restoreHalf(at)
	began := time.Now()
	report := restore(test, dir, at)
	t.Logf("restored in %.1f s: %s", time.Since(began).Seconds(), report)
	t.wantAsBefore(report)
	if back := takeBack.FindStringSubmatch(report); back != nil { // the killed one may have done all
		restore(test, dir, back[1])
		t.wantAsBefore(restore(test, dir, at))
	}
}

// The reasons for which a restore leaves what programs have done.
const (
	changedOnDisk    = "a program has changed it on the disk"
	changedByUnknown = "it is not known what has made or changed it since then" // the server was not there to see it
	goneOnDisk       = "a program has removed it on the disk"
	goneUnseen       = "it is gone, and it is not known what has removed it"
)

// TestRestoreAfterAScriptOnTheDisk: what a script has done to the served directory is reported by a restore, file by file,
// and left as it is. The server is killed while the script runs.
func TestRestoreAfterAScriptOnTheDisk(test *testing.T) {
	t := &trial{T: test, dir: placeToTry(test), client: servertest.Client(test)}
	t.start()
	defer func() { t.server.Stop(false) }()
	t.fill()
	at := tickAt(t).Format(time.RFC3339Nano)
	want := map[string]string{}
	for i, name := range t.files {
		if i == len(t.files)/2 {
			if err := t.server.Kill(); err != nil {
				t.Fatal(err)
			}
			t.client.CloseIdleConnections()
			t.start()
		}
		file := filepath.Join(t.dir, name)
		reason, err := changedOnDisk, error(nil)
		switch i % 3 {
		case 0:
			err = os.WriteFile(file, fmt.Append(nil, "by a script ", i), 0o666)
		case 1:
			err = errors.Join(os.WriteFile(file+".new", fmt.Append(nil, "by a script ", i), 0o666), os.Rename(file+".new", file))
		case 2:
			reason, err = goneOnDisk, os.Remove(file)
		}
		if err != nil {
			t.Fatal(err)
		}
		want[name] = reason
	}
	t.before = filesOf(t, t.dir)
	// The answer to a question for the sync token waits until the watcher has told of everything.
	servertest.Want(t, t.client, http.StatusMultiStatus, "PROPFIND", t.url("d/"),
		`<propfind xmlns="DAV:"><prop><sync-token/></prop></propfind>`, "Depth", "0")
	out, err := restoreCommand(t.dir, at).CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("%v, want exit status 1\n%s", err, out)
	}
	t.Logf("%.300s", out)
	for line := range strings.Lines(string(out)) {
		name, reason, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || !strings.HasPrefix(line, "    ") {
			continue
		}
		name, _ = filepath.Rel(t.dir, name)
		switch {
		case strings.HasSuffix(name, ".new") && (reason == goneOnDisk || reason == changedOnDisk):
			// It may have been there then, for all that is known. The watcher may be about to tell that it is gone.
		case want[name] == reason, want[name] == changedOnDisk && reason == changedByUnknown,
			want[name] == goneOnDisk && reason == goneUnseen:
			delete(want, name)
		default:
			t.Errorf("%s is said to be so: %s; want %q", name, reason, want[name])
		}
	}
	if *undoFiles <= 120 && len(want) > 0 { // of more names, some are told
		t.Errorf("it does not name %q:\n%s", slices.Sorted(maps.Keys(want)), out)
	}
	if n, some := treeDifferences(filesOf(t, t.dir), t.before); n > 0 {
		t.Errorf("%d names were changed: %q", n, some)
	}
}

// tickAt waits until files get a later time of change than the time that it returns.
func tickAt(t testing.TB) time.Time {
	t.Helper()
	at, probe := time.Now(), filepath.Join(t.TempDir(), "probe")
	for {
		if err := os.WriteFile(probe, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(probe); err != nil || info.ModTime().After(at) {
			return at
		}
	}
}

// inBackground runs a function, and returns a channel that is closed when it has ended.
func inBackground(do func()) <-chan struct{} {
	done := make(chan struct{})
	go func() { do(); close(done) }()
	return done
}

// takeBack finds the time in the line of a report that says how a restore is taken back.
var takeBack = regexp.MustCompile(`to take this back: ifmatch history restore .* --at (\S+)`)

func restoreCommand(dir, at string) *exec.Cmd {
	return exec.Command("ifmatch", "history", "restore", dir, "--at", at)
}

// restore runs the command, which must succeed, and returns what it says.
func restore(t *testing.T, dir, at string) string {
	t.Helper()
	out, err := restoreCommand(dir, at).CombinedOutput()
	if err != nil {
		t.Fatalf("restore --at %s: %v\n%s", at, err, out)
	}
	return string(out)
}

// filesOfMoving is filesOf for a tree that changes meanwhile.
func filesOfMoving(dir string) map[string]string {
	found := map[string]string{}
	_ = filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return nil
		case e.Name() == stateName:
			return filepath.SkipDir
		case e.IsDir():
			found[name] = "/"
			return nil
		}
		if data, err := os.ReadFile(path); err == nil {
			found[name] = "=" + string(bytes.Clone(data))
		}
		return nil
	})
	return found
}
