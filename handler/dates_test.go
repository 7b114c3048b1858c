package handler

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A datesWorld is a directory that some servers serve and a local program changes, under one clock that sometimes steps
// back. It remembers every date that a client was shown, and of which content.
type datesWorld struct {
	t        *testing.T
	random   *rand.Rand
	elapsed  *atomic.Int64 // of the clock, in nanoseconds
	start    time.Time
	dir      string
	index    string
	servers  []http.Handler
	stores   []*etagfs.Store
	contents int
	shown    map[string]map[int64]map[string]bool // by name, date in seconds since 1970, and content
	log      []string

	proven, unproven int // how often a client sent the date of the current version, and it was accepted or not
}

var datesNames = []string{"f", "d/f"}

func newDatesWorld(t *testing.T, seed uint64, servers int) *datesWorld {
	w := &datesWorld{
		t:      t,
		random: rand.New(rand.NewPCG(seed, 1)),
		// Ahead of the time stamps of the disk, so that these alone tell nothing.
		start:   time.Now().Truncate(time.Second).Add(time.Hour),
		elapsed: new(atomic.Int64),
		shown:   map[string]map[int64]map[string]bool{},
		servers: make([]http.Handler, servers),
		stores:  make([]*etagfs.Store, servers),
	}
	top, err := os.MkdirTemp("/dev/shm", "ifmatch-test-") // thousands of commits are synced
	if err != nil {
		top = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	w.dir, w.index = filepath.Join(top, "served"), filepath.Join(top, "index")
	w.must(os.MkdirAll(filepath.Join(w.dir, "d"), 0o777), os.MkdirAll(filepath.Join(w.dir, "e"), 0o777))
	for i := range w.servers {
		w.serve(i)
	}
	return w
}

func (w *datesWorld) must(errs ...error) {
	w.t.Helper()
	if err := errors.Join(errs...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *datesWorld) now() time.Time { return w.start.Add(time.Duration(w.elapsed.Load())) }

func (w *datesWorld) wait(d time.Duration) { w.elapsed.Add(int64(d)) }

func (w *datesWorld) serve(i int) {
	below, err := fs.Open(w.dir, fs.Options{Durability: fs.None})
	w.must(err)
	store, err := etagfs.New(below, etagfs.Options{IndexDir: w.index, Now: w.now})
	w.must(err)
	w.stores[i] = store
	w.servers[i] = newTestHandler(w.t, Config{Store: store, Now: w.now})
}

func (w *datesWorld) path(name string) string { return filepath.Join(w.dir, name) }

// content is the current content ("": none).
func (w *datesWorld) content(name string) string {
	data, err := os.ReadFile(w.path(name))
	if !os.IsNotExist(err) {
		w.must(err)
	}
	return string(data)
}

// fresh returns content that was never there, or sometimes was.
func (w *datesWorld) fresh() string {
	if w.contents > 0 && w.random.IntN(8) == 0 {
		return fmt.Sprintf("%04d", w.random.IntN(w.contents))
	}
	w.contents++
	return fmt.Sprintf("%04d", w.contents-1)
}

// date is a moment that makes trouble: about now, one that was shown, or far off.
func (w *datesWorld) date(name string) time.Time {
	if dates := w.dates(name); len(dates) > 0 && w.random.IntN(2) == 0 {
		return time.Unix(dates[w.random.IntN(len(dates))], 0)
	}
	if w.random.IntN(6) == 0 {
		return farOff[w.random.IntN(len(farOff))]
	}
	return w.now().Add(time.Duration(w.random.IntN(12)-4) * 500 * time.Millisecond)
}

var farOff = []time.Time{
	time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1901, 12, 13, 20, 45, 52, 0, time.UTC), time.Unix(0, 0),
	time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
}

// dates are those that a client knows of a name.
func (w *datesWorld) dates(name string) []int64 { return slices.Sorted(maps.Keys(w.shown[name])) }

func (w *datesWorld) note(format string, args ...any) {
	w.log = append(w.log, w.now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

func (w *datesWorld) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nafter\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

var lastModifiedSet = regexp.MustCompile("<lastmodified>(.*)</lastmodified>")

var lastModifiedProperty = regexp.MustCompile("<D:href>([^<]*)</D:href>|<D:getlastmodified>([^<]*)<")

// ask sends a request to one of the servers and notes the dates that it shows.
func (w *datesWorld) ask(method, target, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	request := httptest.NewRequest(method, "http://localhost/"+target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	before := ""
	if method == "PUT" {
		before = w.content(target)
	}
	answer := httptest.NewRecorder()
	w.servers[w.random.IntN(len(w.servers))].ServeHTTP(answer, request)
	w.note("%s %s %q %q: %d %s", method, target, header, body, answer.Code, answer.Header().Get("Last-Modified"))
	if answer.Code >= 500 {
		w.fail("%d %s", answer.Code, answer.Body)
	}
	about := target
	if to := request.Header.Get("Destination"); to != "" && answer.Code < 300 {
		about = to[1:]
	}
	if value := answer.Header().Get("Last-Modified"); value != "" {
		if date, err := http.ParseTime(value); err != nil || date.After(w.now()) {
			w.fail("Last-Modified of %s is %q, error %v", about, value, err)
		}
		w.see(about, value)
	}
	asked := request.Header.Get("X-OC-Mtime")
	if answer.Header().Get("X-OC-Mtime") == "accepted" {
		second, err := strconv.ParseInt(asked, 10, 64)
		w.must(err)
		w.see(about, dateOf(second))
	}
	if method == "PUT" && answer.Code < 300 && before != body && asked == "" {
		info, err := os.Stat(w.path(target))
		if w.must(err); info.ModTime().After(w.now().Add(time.Second)) {
			w.fail("it has the time %v on the disk", info.ModTime())
		}
	}
	if set := lastModifiedSet.FindStringSubmatch(body); set != nil && strings.Contains(answer.Body.String(), " 200 ") {
		second, err := strconv.ParseInt(set[1], 10, 64)
		w.must(err)
		w.see(about, dateOf(second))
	}
	if answer.Code == http.StatusMultiStatus && method == "PROPFIND" {
		href := ""
		for _, found := range lastModifiedProperty.FindAllStringSubmatch(answer.Body.String(), -1) {
			if found[1] != "" {
				href = strings.TrimPrefix(found[1], "/")
			} else {
				w.see(href, found[2])
			}
		}
	}
	return answer
}

func (w *datesWorld) see(name, value string) {
	w.t.Helper()
	date, err := http.ParseTime(value)
	w.must(err)
	if !slices.Contains(datesNames, name) {
		return
	}
	if w.shown[name] == nil {
		w.shown[name] = map[int64]map[string]bool{}
	}
	if w.shown[name][date.Unix()] == nil {
		w.shown[name][date.Unix()] = map[string]bool{}
	}
	w.shown[name][date.Unix()][w.content(name)] = true
}

func dateOf(second int64) string { return time.Unix(second, 0).UTC().Format(http.TimeFormat) }

// believed asserts whether a date was accepted for the current version.
func (w *datesWorld) believed(how, name string, date int64, content string, yes bool) {
	w.t.Helper()
	shown := w.shown[name][date]
	mine := shown[content]
	switch {
	case yes && (!mine || len(shown) > 1):
		w.fail("%s: the date %s was shown with %v of %s, and stands for %q", how, dateOf(date), shown, name, content)
	case mine && yes:
		w.proven++
	case mine:
		w.unproven++
	}
}

// step does one thing, of a client or of a local program.
func (w *datesWorld) step() {
	name := datesNames[w.random.IntN(len(datesNames))]
	var modified []string
	if w.random.IntN(3) == 0 {
		modified = []string{"X-OC-Mtime", fmt.Sprint(w.date(name).Unix())}
	}
	switch w.random.IntN(22) {
	case 0, 1, 2:
		w.ask("PUT", name, w.fresh(), modified...)
	case 3:
		w.ask("DELETE", name, "")
	case 4:
		w.ask("PUT", "g", w.fresh(), modified...)
		w.ask([]string{"COPY", "MOVE"}[w.random.IntN(2)], "g", "", "Destination", "/"+name)
	case 5:
		w.ask("PUT", "e/f", w.fresh(), modified...)
		w.ask([]string{"COPY", "MOVE"}[w.random.IntN(2)], "e", "", "Destination", "/d")
		w.ask("MKCOL", "e", "")
	case 6:
		w.ask("PROPPATCH", name, fmt.Sprintf(`<propertyupdate xmlns="DAV:"><set><prop><lastmodified>%d</lastmodified></prop></set></propertyupdate>`, w.date(name).Unix()))
	case 7:
		w.ask("PROPPATCH", name, `<propertyupdate xmlns="DAV:"><set><prop><x xmlns="urn:x">y</x></prop></set></propertyupdate>`)
	case 8, 9:
		w.ask("GET", name, "")
	case 10:
		w.ask("HEAD", name, "")
	case 11:
		w.ask("PROPFIND", name, "")
	case 12:
		dir, _ := filepath.Split(name)
		w.ask("PROPFIND", dir, `<propfind xmlns="DAV:"><prop><getlastmodified/></prop></propfind>`, "Depth", "1")
	case 13:
		w.note("a local program writes %s", name)
		w.local(name, os.WriteFile(w.path(name), []byte(w.fresh()), 0o666))
	case 14:
		w.note("a local program renames onto %s", name)
		err := os.WriteFile(w.path("tmp"), []byte(w.fresh()), 0o666)
		w.local("tmp", err)
		w.must(os.Rename(w.path("tmp"), w.path(name)))
	case 15:
		if w.content(name) != "" {
			w.note("a local program touches %s", name)
			w.local(name, os.Chmod(w.path(name), 0o600+os.FileMode(w.random.IntN(2))*0o44))
		}
	case 16:
		w.note("a local program exchanges d and e")
		w.must(os.Rename(w.path("d"), w.path("x")), os.Rename(w.path("e"), w.path("d")), os.Rename(w.path("x"), w.path("e")))
	case 17:
		i := w.random.IntN(len(w.servers))
		w.note("server %d is restarted", i)
		w.must(w.stores[i].Close())
		w.serve(i)
	case 18, 19:
		w.wait(time.Duration(w.random.IntN(12)) * 250 * time.Millisecond)
	case 20:
		if w.random.IntN(4) == 0 {
			w.wait(-time.Duration(w.random.IntN(12)) * 500 * time.Millisecond)
			w.note("the clock has stepped back")
		}
	case 21:
		w.wait(3 * time.Second)
	}
}

// local writes as a local program does, and sets a modification time of its choice.
func (w *datesWorld) local(name string, err error) {
	w.t.Helper()
	w.must(err)
	date := w.date(name)
	w.note("… with the time %s", date.UTC().Format(http.TimeFormat))
	w.must(os.Chtimes(w.path(name), date, date))
}

// try sends dates that were shown before as conditions, each in one of the ways in which a client can.
func (w *datesWorld) try() {
	for _, name := range datesNames {
		for _, date := range w.dates(name) {
			content := w.content(name)
			value := dateOf(date)
			switch w.random.IntN(12) {
			case 0:
				answer := w.ask("GET", name, "", "If-Modified-Since", value)
				w.believed("304", name, date, content, answer.Code == http.StatusNotModified)
			case 1:
				answer := w.ask("GET", name, "", "If-Range", value, "Range", "bytes=1-")
				w.believed("206", name, date, content, answer.Code == http.StatusPartialContent)
			case 2:
				answer := w.ask("HEAD", name, "", "If-Unmodified-Since", value)
				w.believed("HEAD", name, date, content, answer.Code == http.StatusOK)
			case 3:
				answer := w.ask("PUT", name, w.fresh(), "If-Unmodified-Since", value)
				w.believed("PUT", name, date, content, answer.Code < 300)
			case 4:
				if w.random.IntN(4) == 0 {
					answer := w.ask("DELETE", name, "", "If-Unmodified-Since", value)
					w.believed("DELETE", name, date, content, answer.Code < 300)
				}
			case 5:
				if w.random.IntN(4) == 0 {
					answer := w.ask("MOVE", name, "", "If-Unmodified-Since", value, "Destination", "/gone")
					w.believed("MOVE", name, date, content, answer.Code < 300)
				}
			}
		}
	}
}

// TestDatesNeverLie has clients, a local program, restarts and a clock that steps back make random histories. After
// any history, a date identifies only the content that it was shown with.
func TestDatesNeverLie(t *testing.T) {
	const histories, steps = 60, 50
	for _, test := range []struct {
		name    string
		servers int
		refused int // the most true dates that may be refused for each true date that is believed
	}{
		{"one server", 1, 5}, // nearly everything here is made to be refused
		{"two servers", 2, 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proven, unproven := 0, 0
			for seed := range histories {
				w := newDatesWorld(t, uint64(seed), test.servers)
				for range steps {
					w.step()
					w.try()
				}
				for _, store := range w.stores {
					w.must(store.Close())
				}
				proven, unproven = proven+w.proven, unproven+w.unproven
			}
			t.Logf("of the dates of what was there, %d were believed, and %d refused", proven, unproven)
			if test.refused*proven < unproven {
				t.Error("they are hardly ever believed")
			}
		})
	}
}

// TestOwnDate: a client that writes twice can use the date of the first answer in the second request.
func TestOwnDate(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(w *datesWorld)
	}{
		{"", func(*datesWorld) {}},
		{"after a restart", func(w *datesWorld) {
			for i, store := range w.stores {
				w.must(store.Close())
				w.serve(i)
			}
		}},
		{"after a LOCK that made the file", func(w *datesWorld) {
			w.ask("DELETE", "f", "")
			w.wait(time.Second)
			w.ask("LOCK", "f", `<lockinfo xmlns="DAV:"><lockscope><shared/></lockscope><locktype><write/></locktype></lockinfo>`, "Timeout", "Second-1")
			w.ask("PROPFIND", "f", "")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newDatesWorld(t, 1, 2)
			for range 4 {
				test.before(w)
				var lock []string
				for _, l := range w.locks("f") {
					lock = []string{"If", "(<" + l + ">)"}
				}
				date := w.ask("PUT", "f", w.fresh(), lock...).Header().Get("Last-Modified")
				w.wait(2 * time.Second)
				if test.name == "after a restart" {
					test.before(w)
				}
				if answer := w.ask("PUT", "f", w.fresh(), "If-Unmodified-Since", date); answer.Code != http.StatusNoContent {
					w.fail("refused: %d", answer.Code)
				}
				w.wait(time.Second)
			}
			for _, store := range w.stores {
				w.must(store.Close())
			}
		})
	}
}

func (w *datesWorld) locks(name string) (tokens []string) {
	state, err := w.stores[0].Stat(w.t.Context(), name, tree.ReadOptions{Want: tree.WantLocks})
	if !errors.Is(err, tree.ErrNotExist) {
		w.must(err)
	}
	for _, l := range state.Locks {
		tokens = append(tokens, l.Token)
	}
	return tokens
}

// TestIncrementByDate has many clients count together in one file by nothing but dates. Each second lets one write
// through, and each write that was acknowledged has happened.
func TestIncrementByDate(t *testing.T) {
	t.Parallel()
	const clients, seconds = 16, 20
	start := time.Now().Add(time.Hour)
	var elapsed, acknowledged atomic.Int64 // elapsed in nanoseconds
	now := func() time.Time { return start.Add(time.Duration(elapsed.Load())) }
	dir := t.TempDir()
	store := storeOn(t, dir, fs.Options{Durability: fs.None}, etagfs.Options{Now: now})
	server := httptest.NewServer(newTestHandler(t, Config{Store: store, Now: now}))
	defer server.Close()
	client := server.Client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = clients

	send := func(method, body, date string) (status int, content, modified string) {
		request, err := http.NewRequest(method, server.URL+"/counter", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		if date != "" {
			request.Header.Set("If-Unmodified-Since", date)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		defer answer.Body.Close()
		read, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		return answer.StatusCode, string(read), answer.Header.Get("Last-Modified")
	}
	if status, _, _ := send("PUT", "0", ""); status != http.StatusCreated {
		t.Fatalf("PUT: %d", status)
	}
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for elapsed.Load() < int64(seconds*time.Second) && !t.Failed() {
				_, content, date := send("GET", "", "")
				n, err := strconv.Atoi(content)
				if err != nil {
					t.Errorf("GET: %q", content)
					return
				}
				if date == "" { // that of the next second, which has not come
					elapsed.Add(int64(80 * time.Millisecond))
					continue
				}
				switch status, _, _ := send("PUT", strconv.Itoa(n+1), date); status {
				case http.StatusNoContent:
					acknowledged.Add(1)
				case http.StatusPreconditionFailed:
					elapsed.Add(int64(80 * time.Millisecond))
				default:
					t.Errorf("PUT: %d", status)
					return
				}
			}
		})
	}
	group.Wait()
	_, content, _ := send("GET", "", "")
	if content != strconv.FormatInt(acknowledged.Load(), 10) || acknowledged.Load() < seconds/2 {
		t.Errorf("the counter is %s after %d acknowledged increments", content, acknowledged.Load())
	}
	t.Logf("%d acknowledged in %d seconds", acknowledged.Load(), seconds)
}

// Dates are written as package time writes them.
func TestDateText(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	all := []time.Time{last, time.Unix(0, 0), time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(2024, 2, 29, 9, 8, 7, 6, time.Local)}
	for range 2000 {
		all = append(all, time.Unix(random.Int64N(last.Unix()), 0))
	}
	for _, date := range all {
		if got, ok := httpDate(date); !ok || got != date.UTC().Format(http.TimeFormat) {
			t.Errorf("%v is written as %q", date, got)
		}
	}
	if got, ok := httpDate(last.Add(time.Second)); ok {
		t.Errorf("the year 10000 is written as %q", got)
	}
}
