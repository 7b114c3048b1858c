package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/replicas"
)

// shiftedClock returns the address of a new tree in a database whose clock is ahead of that of this machine. So the clocks
// of all servers over it are behind by as much.
func shiftedClock(t *testing.T, ahead time.Duration) (dsn string) {
	t.Helper()
	dsn = pgtest.Run(t).Database(t, nil)
	store, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range []string{
		"create schema shifted",
		"create function shifted.now() returns timestamptz language sql as $$select pg_catalog.now() + interval 'AHEAD'$$",
		`create function shifted.clock_timestamp() returns timestamptz language sql as $$
 select pg_catalog.clock_timestamp() + interval 'AHEAD'$$`,
	} {
		sql = strings.ReplaceAll(sql, "AHEAD", ahead.String())
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return dsn + "&search_path=shifted,pg_catalog"
}

// near is how far times that are read one after the other may be apart on a slow machine.
const near = 2 * time.Minute

// TestServersGoByTheClockOfTheDatabase: all that ends, ends by the clock of the database, however wrong that of a server is.
func TestServersGoByTheClockOfTheDatabase(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			now := func() time.Time { return time.Now().Add(ahead) } // of the database
			valid, good, err := auth.NewToken("ann", "valid", now(), now().Add(ahead.Abs()/2), nil)
			if err != nil {
				t.Fatal(err)
			}
			ended, over, err := auth.NewToken("ann", "ended", now().Add(-24*time.Hour), now().Add(-ahead.Abs()/2), nil)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, token := range []auth.Token{good, over} {
				line, err := json.Marshal(token)
				if err != nil {
					t.Fatal(err)
				}
				lines = append(lines, string(line)+"\n")
			}
			c := &clockClient{t: t, now: now}
			const hash = "$2a$04$4NPtG9SnUkkykmP0X2whze5iZbQ78XY/PGYEG/HvK35rDcWxp/5DG" // of secret
			c.url, c.client, c.cfg = serveReplica(t, shiftedClock(t, ahead), t.TempDir(), "ann:"+hash+"\n", strings.Join(lines, ""))
			c.tokens(valid, ended)
			c.dates()
			c.lock()
			c.upload()
			c.link()
			c.sessions()
		})
	}
}

// A clockClient asks a server, and knows the time of the database.
type clockClient struct {
	t      *testing.T
	now    func() time.Time
	url    string
	client *http.Client
	cfg    Config
}

func (c *clockClient) ask(password, method, path, body string, want int, header ...string) (*http.Response, string) {
	c.t.Helper()
	header = append(header, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ann:"+password)))
	answer, text := servertest.Do(c.t, c.client, method, c.url+path, body, header...)
	if answer.StatusCode != want {
		c.t.Errorf("%s %s: %d, want %d: %s", method, path, answer.StatusCode, want, text)
	}
	return answer, text
}

// wantNear reports a time that is not some time from now.
func (c *clockClient) wantNear(what string, got time.Time, from time.Duration) {
	c.t.Helper()
	if off := got.Sub(c.now().Add(from)); off.Abs() > near {
		c.t.Errorf("%s is off by %v", what, off)
	}
}

// tokens: an app token is taken until its end, and not after it.
func (c *clockClient) tokens(valid, ended string) {
	c.ask(valid, http.MethodGet, "/", "", http.StatusOK)
	c.ask(ended, http.MethodGet, "/", "", http.StatusUnauthorized)
}

// dates: Date is the time of the database, and no Last-Modified is later.
func (c *clockClient) dates() {
	c.ask("secret", http.MethodPut, "/f", "content", http.StatusCreated)
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		answer, _ := c.ask("secret", method, "/f", "content", map[string]int{"GET": 200, "PUT": 204}[method])
		date, err := http.ParseTime(answer.Header.Get("Date"))
		if err != nil || len(answer.Header["Date"]) != 1 {
			c.t.Errorf("Date is %q: %v", answer.Header["Date"], err)
		}
		c.wantNear("Date", date, 0)
		if text := answer.Header.Get("Last-Modified"); text != "" {
			modified, err := http.ParseTime(text)
			if err != nil || modified.After(date) {
				c.t.Errorf("Last-Modified is %q, and Date %v, error %v", text, date, err)
			}
			c.wantNear("Last-Modified", modified, 0)
		}
	}
}

var timeoutOf = regexp.MustCompile(`Second-(\d+)`)

// lock: a client is told how long its lock lasts.
func (c *clockClient) lock() {
	_, text := c.ask("secret", "LOCK", "/f", servertest.LockExclusive, http.StatusOK, "Timeout", "Second-1800")
	found := timeoutOf.FindStringSubmatch(text)
	if found == nil {
		c.t.Fatalf("LOCK: %s", text)
	}
	seconds, err := strconv.Atoi(found[1])
	if err != nil || seconds > 1800 || seconds < 1800-int(near.Seconds()) {
		c.t.Errorf("a lock for 1800 seconds lasts %d, error %v", seconds, err)
	}
}

// upload: an upload in parts lasts as long as it is told.
func (c *clockClient) upload() {
	answer, _ := c.ask("secret", http.MethodPost, "/.ifmatch/uploads", "", http.StatusCreated, "Tus-Resumable", "1.0.0",
		"Upload-Length", "7", "Upload-Metadata", "path "+base64.StdEncoding.EncodeToString([]byte("/u")))
	ends, err := http.ParseTime(answer.Header.Get("Upload-Expires"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.wantNear("Upload-Expires", ends, c.cfg.UploadExpiry)
	c.ask("secret", http.MethodHead, strings.TrimPrefix(answer.Header.Get("Location"), c.url), "", http.StatusOK,
		"Tus-Resumable", "1.0.0")
}

// link: a share link lasts as long as it is told.
func (c *clockClient) link() {
	var made links.Told
	_, text := c.ask("secret", http.MethodPost, "/.ifmatch/links", `{"path": "/f"}`, http.StatusCreated,
		"Content-Type", "application/json")
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		c.t.Fatal(err)
	}
	c.wantNear("the end of a link", made.Expires, links.DefaultExpiry)
	body := `{"path": "/f", "expires": "` + c.now().Add(30*time.Minute).UTC().Format(time.RFC3339) + `"}`
	_, text = c.ask("secret", http.MethodPost, "/.ifmatch/links", body, http.StatusCreated, "Content-Type", "application/json")
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		c.t.Fatal(err)
	}
	answer, _ := servertest.Do(c.t, c.client, http.MethodGet, c.url+made.Href, "")
	if answer.StatusCode != http.StatusOK {
		c.t.Errorf("a link that lasts half an hour: %s", answer.Status)
	}
}

// sessions: a login lasts until it has idled for its time.
func (c *clockClient) sessions() {
	table := c.cfg.sessions(slog.New(slog.DiscardHandler))
	id, err := table.Begin(c.t.Context(), session.Record{User: "ann", Proof: "proof"})
	if err != nil {
		c.t.Fatal(err)
	}
	key, _ := session.KeyOf(id)
	found, err := table.Look(c.t.Context(), key)
	if err != nil {
		c.t.Fatal(err)
	}
	c.wantNear("the end of a login", found.Ends(), session.Idle)
	for used, there := range map[time.Duration]bool{session.Idle - 30*time.Minute: true, session.Idle + 30*time.Minute: false} {
		if err := c.cfg.shared.sessions.Put(c.t.Context(), key, found.Record, c.now().Add(-used)); err != nil {
			c.t.Fatal(err)
		}
		if _, err := table.Look(c.t.Context(), key); (err == nil) != there {
			c.t.Errorf("a login that was used %v ago: %v", used, err)
		}
	}
}

// TestAWrongClockIsTold in /readyz, by a metric, in the log and to the other replicas.
func TestAWrongClockIsTold(t *testing.T) {
	for _, test := range []struct {
		ahead time.Duration // of the database
		note  string
	}{
		{0, ""},
		{time.Hour, "the clock of this machine is off by -1h0m0s, by that of the database"},
		{-time.Hour, "the clock of this machine is off by 1h0m0s, by that of the database"},
	} {
		t.Run(test.ahead.String(), func(t *testing.T) {
			store, err := pgstore.Open(t.Context(), shiftedClock(t, test.ahead), pgstore.Options{NoMigrate: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			var said strings.Builder
			log := slog.New(slog.NewTextHandler(&said, nil))
			var cfg Config
			if cfg.Auth, err = auth.Open(auth.Options{}); err != nil {
				t.Fatal(err)
			}
			socket := filepath.Join(t.TempDir(), "admin.sock")
			var stop func()
			if cfg.Monitor, stop, err = monitor.Start(t.Context(), monitor.Options{Addr: "unix:" + socket}, log); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			cfg.Monitor.Serves(store, nil, false, nil)
			teller := cfg.teller(store, log)
			for range 2 {
				if err := teller.Tell(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			}}}
			defer client.CloseIdleConnections()
			text := readyz(t, client)
			if !strings.HasPrefix(text, "ok\n"+test.note) || test.note == "" && text != "ok\n" {
				t.Errorf("/readyz says %q", text)
			}
			told := 0
			if test.note != "" {
				told = 1
			}
			if n := strings.Count(said.String(), "the clock of this machine is not that of the database"); n != told {
				t.Errorf("the log tells it %d times:\n%s", n, &said)
			}
			_, text = servertest.Do(t, client, http.MethodGet, "http://admin/metrics", "")
			found := regexp.MustCompile(`\nifmatch_clock_ahead_seconds (\S+)\n`).FindStringSubmatch(text)
			if found == nil {
				t.Fatalf("there is no such metric in\n%s", text)
			}
			seconds, err := strconv.ParseFloat(found[1], 64)
			if off := time.Duration(seconds*float64(time.Second)) + test.ahead; err != nil || off.Abs() > near {
				t.Errorf("the metric is %s", found[1])
			}
			notes, err := store.Notes(replicas.Kind).List(t.Context(), replicas.Most)
			if err != nil {
				t.Fatal(err)
			}
			if all := replicas.Of(notes); len(all) != 1 || (all[0].Ahead+test.ahead).Abs() > near {
				t.Errorf("the other replicas are told %+v", all)
			}
		})
	}
}
