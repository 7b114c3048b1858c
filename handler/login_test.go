package handler

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// What browsers send: a person who opens a page, and a page of this server.
var (
	person = []string{browser, "Sec-Fetch-Mode:navigate", "Sec-Fetch-Dest:document", "Sec-Fetch-Site:same-origin", "Origin:http://localhost"}
	script = []string{"Sec-Fetch-Mode:cors", "Sec-Fetch-Site:same-origin", "Origin:http://localhost"}
)

const formType = "Content-Type:application/x-www-form-urlencoded"

// A loginServer is a server with the user ann, whose requests come from this machine.
type loginServer struct {
	t     *testing.T
	h     http.Handler
	users string // the file
	auth  *auth.Authority
	now   time.Time
}

func (s *loginServer) setPassword(lines string) {
	s.t.Helper()
	if err := os.WriteFile(s.users, []byte(lines), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if s.auth != nil {
		if err := s.auth.Reload(); err != nil {
			s.t.Fatal(err)
		}
	}
}

func userLine(t *testing.T, name, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return name + ":" + string(h) + "\n"
}

func newLoginServer(t *testing.T, config Config, opts auth.Options) *loginServer {
	t.Helper()
	s := &loginServer{t: t, users: filepath.Join(t.TempDir(), "users"), now: time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)}
	s.setPassword(userLine(t, "ann", "secret"))
	opts.Users = s.users
	var err error
	if s.auth, err = auth.Open(opts); err != nil {
		t.Fatal(err)
	}
	config.Auth, config.Now = s.auth, func() time.Time { return s.now }
	if config.Page == "" {
		config.Page = web.Full
	}
	s.h = inMemory(t, config, "d/", "d/f=1")
	return s
}

func (s *loginServer) ask(from, method, target, body string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, "http://localhost"+target, strings.NewReader(body))
	r.RemoteAddr = from + ":1"
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w
}

const near, far = "127.0.0.1", "192.0.2.7"

// login logs in, and returns the header with the cookie.
func (s *loginServer) login() string {
	s.t.Helper()
	w := s.ask(near, "POST", "/.ifmatch/login", "name=ann&password=secret&to=/d/", append(person, formType)...)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/d/" {
		s.t.Fatalf("the login: %d, %s", w.Code, w.Body)
	}
	cookie, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	return "Cookie:" + cookie
}

// asked returns how an answer asks for a login: "form", "session", "basic", "reason" for a page that says why there is no
// form, or "".
func asked(w *httptest.ResponseRecorder) string {
	html := strings.Contains(w.Header().Get("Content-Type"), "text/html")
	switch challenge := w.Header().Get("WWW-Authenticate"); {
	case challenge == `Session realm="ifmatch"` && html && strings.Contains(w.Body.String(), `name="password"`):
		return "form"
	case challenge == `Session realm="ifmatch"` && html:
		return "again"
	case challenge == `Session realm="ifmatch"`:
		return "session"
	case strings.HasPrefix(challenge, "Basic "):
		return "basic"
	case w.Code == http.StatusForbidden && html && strings.Contains(w.Body.String(), "plain HTTP"):
		return "reason"
	}
	return ""
}

func TestBrowsersAreAskedToLogInByTheForm(t *testing.T) {
	elsewhere := []string{browser, "Sec-Fetch-Mode:navigate", "Sec-Fetch-Dest:document", "Sec-Fetch-Site:cross-site"}
	for _, tt := range []struct {
		about  string
		config Config
		opts   auth.Options
		from   string
		header []string
		status int
		asked  string
	}{
		{"a person", Config{}, auth.Options{}, near, person, 401, "form"},
		{"a person who comes from elsewhere, perhaps logged in", Config{}, auth.Options{}, near, elsewhere, 401, "again"},
		{"a page", Config{}, auth.Options{}, near, script, 401, "session"},
		{"a program", Config{}, auth.Options{}, near, nil, 401, "basic"},
		{"a program that reads HTML", Config{}, auth.Options{}, near, []string{browser, "User-Agent:Wget/1.25"}, 401, "basic"},
		{"a person who sends a wrong password by Basic", Config{}, auth.Options{}, near,
			append([]string{"Authorization:Basic YW5uOng="}, person...), 401, "basic"},
		{"a person, over plain HTTP", Config{}, auth.Options{}, far, person, 403, "reason"},
		{"a page, over plain HTTP", Config{}, auth.Options{}, far, script, 403, ""},
		{"a person, over plain HTTP with --insecure-basic", Config{}, auth.Options{InsecureBasic: true}, far, person, 401, "basic"},
		{"a person, with --page list", Config{Page: web.List}, auth.Options{}, near, person, 401, "basic"},
		{"a page, with --page list", Config{Page: web.List}, auth.Options{}, near, script, 401, "basic"},
		{"a person who may read", Config{}, auth.Options{Anonymous: auth.ReadOnly}, near, person, 200, ""},
	} {
		s := newLoginServer(t, tt.config, tt.opts)
		for _, target := range []string{"/d/", "/d/f", "/.ifmatch/list?path=/d/", "/none"} {
			if tt.status == 200 && target == "/none" || tt.config.Page == web.List && strings.HasPrefix(target, "/.ifmatch") {
				continue
			}
			w := s.ask(tt.from, "GET", target, "", tt.header...)
			if got := asked(w); w.Code != tt.status || got != tt.asked {
				t.Errorf("%s, %s: %d, asked by %q", tt.about, target, w.Code, got)
			}
			if vary := strings.Join(w.Header().Values("Vary"), ", "); strings.Contains(vary, "Cookie") != (tt.config.Page != web.List) {
				t.Errorf("%s, %s: Vary: %s", tt.about, target, vary)
			}
			if got := asked(w); got == "form" || got == "again" || got == "reason" {
				policy := w.Header().Get("Content-Security-Policy")
				if w.Header().Get("Cache-Control") != "no-store" || !strings.Contains(policy, "frame-ancestors 'none'") {
					t.Errorf("%s, %s: %v", tt.about, target, w.Header())
				}
			}
		}
	}
}

func TestTheFormGoesToThePathThatWasAskedForAndNowhereElse(t *testing.T) {
	s := newLoginServer(t, Config{}, auth.Options{})
	w := s.ask(near, "GET", "/d/a%20%22b?after=%26%3Cx", "", person...)
	if want := `name="to" value="/d/a%20%22b?after=%26%3Cx"`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("no %s in\n%s", want, w.Body)
	}
	for _, to := range []string{"//evil.example/", `/\evil.example`, "https://evil.example/", "/%0d%0aX:y/../..", ""} {
		form := url.Values{"name": {"ann"}, "password": {"secret"}, "to": {to}}.Encode()
		w := s.ask(near, "POST", "/.ifmatch/login", form, append(person, formType)...)
		if got := w.Header().Get("Location"); w.Code != 303 || got != "/" {
			t.Errorf("%q: %d, %q", to, w.Code, got)
		}
		got := s.ask(near, "GET", "/.ifmatch/login?"+url.Values{"to": {to}}.Encode(), "", person...)
		if !strings.Contains(got.Body.String(), `name="to" value="/"`) {
			t.Errorf("%q in\n%s", to, got.Body)
		}
	}
}

func TestALoginThatIsRefusedSaysWhy(t *testing.T) {
	s := newLoginServer(t, Config{}, auth.Options{})
	for _, body := range []string{"name=ann&password=x", "name=nobody&password=secret", "name=ann", ""} {
		w := s.ask(near, "POST", "/.ifmatch/login", body, append(person, formType)...)
		if w.Code != 401 || asked(w) != "form" || !strings.Contains(w.Body.String(), "The name or the password is wrong.") {
			t.Errorf("%s: %d, %s", body, w.Code, w.Body)
		}
		w = s.ask(near, "POST", "/.ifmatch/login", body, append(script, formType, "Accept:application/json")...)
		if w.Code != 401 || asked(w) != "session" || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s by a script: %d, %v", body, w.Code, w.Header())
		}
	}
	w := s.ask(near, "POST", "/.ifmatch/login", "name=ann&password=secret", append(script, formType, "Authorization:Basic YW5uOng=")...)
	if w.Code != 204 || w.Header().Get("Set-Cookie") == "" {
		t.Errorf("beside a wrong password that a browser remembers: %d, %s", w.Code, w.Body)
	}
	if w := s.ask(far, "POST", "/.ifmatch/login", "name=ann&password=secret", append(person, formType)...); w.Code != 403 {
		t.Errorf("over plain HTTP: %d", w.Code)
	}
}

func TestTheFormSaysThatThereWereTooManyWrongPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the answers are kept back
		s := newLoginServer(t, Config{}, auth.Options{})
		var w *httptest.ResponseRecorder
		for range 11 {
			w = s.ask(near, "POST", "/.ifmatch/login", "name=ann&password=x", append(person, formType)...)
		}
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "296" ||
			!strings.Contains(w.Body.String(), "There were too many wrong passwords") {
			t.Errorf("%d, %v, %s", w.Code, w.Header(), w.Body)
		}
	})
}

// TestASessionChangesThingsForPagesOfThisServerAlone: each address and method that changes something.
func TestASessionChangesThingsForPagesOfThisServerAlone(t *testing.T) {
	s := newLoginServer(t, Config{CORSOrigins: []string{"https://app.example"}}, auth.Options{})
	cookie := s.login()
	changes := [][2]string{
		{"PUT", "/d/f"}, {"DELETE", "/d/f"}, {"MKCOL", "/new"}, {"COPY", "/d/f"}, {"MOVE", "/d/f"}, {"PROPPATCH", "/d/f"}, {"LOCK", "/d/f"},
		{"UNLOCK", "/d/f"}, {"POST", "/d/f"}, {"PATCH", "/.ifmatch/uploads/x"}, {"POST", "/.ifmatch/restore?path=/d/f&id=x"},
		{"POST", "/.ifmatch/login"}, {"POST", "/.ifmatch/logout"},
	}
	for about, header := range map[string][]string{
		"a sibling":             {"Sec-Fetch-Site:same-site", "Sec-Fetch-Mode:no-cors", "Origin:http://localhost:9"},
		"a form of a sibling":   {"Sec-Fetch-Site:same-site", "Sec-Fetch-Mode:navigate", "Sec-Fetch-Dest:document", browser},
		"another site":          {"Sec-Fetch-Site:cross-site", "Origin:https://evil.example"},
		"a sandbox":             {"Sec-Fetch-Site:cross-site", "Origin:null"},
		"a sandbox that lies":   {"Sec-Fetch-Site:same-origin", "Origin:null"},
		"an old browser":        {"Origin:https://evil.example"},
		"a program":             {},
		"a page that is listed": {"Sec-Fetch-Site:same-site", "Sec-Fetch-Mode:no-cors", "Origin:https://app.example"},
	} {
		for _, change := range changes {
			w := s.ask(near, change[0], change[1], "name=ann&password=secret", append([]string{cookie, formType, "Destination:/d/g"}, header...)...)
			// To the rules, a session that does not count is none, and anonymous may do nothing here.
			if w.Code < 400 || w.Code >= 500 || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s: %s %s: %d, %s", about, change[0], change[1], w.Code, w.Body)
			}
			if w.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: %v", about, w.Header())
			}
		}
	}
	for _, address := range []string{"login", "logout", "restore"} {
		for _, method := range []string{"GET", "HEAD"} {
			w := s.ask(near, method, "/.ifmatch/"+address+"?path=/d/f&id=x&name=ann&password=secret", "", append(person, cookie)...)
			if w.Code != 405 && (address != "login" || w.Code != 200) || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s %s: %d", method, address, w.Code)
			}
		}
	}
	if w := s.ask(near, "GET", "/d/f", "", cookie); w.Code != 200 || w.Body.String() != "1" {
		t.Errorf("the file afterwards: %d, %s", w.Code, w.Body)
	}
	if w := s.ask(near, "PUT", "/d/f", "2", append(script, cookie)...); w.Code != 204 {
		t.Errorf("a page of this server: %d, %s", w.Code, w.Body)
	}
	// A listed page reads nothing of a user who is logged in, and may send a password itself.
	listed := []string{"Sec-Fetch-Site:same-site", "Sec-Fetch-Mode:cors", "Origin:https://app.example"}
	if w := s.ask(near, "GET", "/d/f", "", append(listed, cookie)...); w.Code != 401 {
		t.Errorf("a listed page with a session: %d", w.Code)
	}
	if w := s.ask(near, "PUT", "/d/f", "3", append(listed, "Authorization:Basic YW5uOnNlY3JldA==")...); w.Code != 204 {
		t.Errorf("a listed page with a password: %d, %s", w.Code, w.Body)
	}
}

func TestASessionEnds(t *testing.T) {
	for _, tt := range []struct {
		about string
		end   func(s *loginServer, cookie string)
	}{
		{"by a logout", func(s *loginServer, cookie string) {
			w := s.ask(near, "POST", "/.ifmatch/logout", "to=/d/", append(person, formType, cookie)...)
			if line := w.Header().Get("Set-Cookie"); w.Code != 303 || !strings.Contains(line, "Max-Age=0") {
				s.t.Errorf("%d, %s", w.Code, line)
			}
		}},
		{"by another password", func(s *loginServer, _ string) { s.setPassword(userLine(s.t, "ann", "other")) }},
		{"with its user", func(s *loginServer, _ string) { s.setPassword(userLine(s.t, "bob", "secret")) }},
		{"with the next login of the same browser", func(s *loginServer, cookie string) {
			w := s.ask(near, "POST", "/.ifmatch/login", "name=ann&password=secret", append(person, formType, cookie)...)
			if w.Code != 303 || strings.Contains(w.Header().Get("Set-Cookie"), strings.TrimPrefix(cookie, "Cookie:")) {
				s.t.Errorf("the id is not a new one: %d, %v", w.Code, w.Header())
			}
		}},
		{"after 12 hours", func(s *loginServer, _ string) { s.now = s.now.Add(session.Idle) }},
		{"after 30 days", func(s *loginServer, cookie string) {
			for range 2*30 - 1 {
				s.now = s.now.Add(12*time.Hour - time.Minute)
				if w := s.ask(near, "GET", "/d/", "", append(person, cookie)...); w.Code != 200 {
					s.t.Fatalf("%v: %d", s.now, w.Code)
				}
			}
			s.now = s.now.Add(12*time.Hour - time.Minute).Add(time.Hour + 15*time.Minute)
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			s := newLoginServer(t, Config{}, auth.Options{})
			before := userLine(t, "ann", "secret")
			s.setPassword(before)
			cookie := s.login()
			page := s.ask(near, "GET", "/d/", "", append(person, cookie)...)
			if page.Code != 200 || !strings.Contains(page.Body.String(), "<bdi title=\"Logged in\">ann</bdi>") {
				t.Fatalf("%d, %s", page.Code, page.Body)
			}
			tt.end(s, cookie)
			for range 2 {
				if w := s.ask(near, "GET", "/d/", "", append(person, cookie)...); asked(w) != "form" {
					t.Errorf("afterwards: %d, %q", w.Code, asked(w))
				}
				if w := s.ask(near, "PUT", "/d/f", "2", append(script, cookie)...); asked(w) != "session" {
					t.Errorf("afterwards a page: %d, %q", w.Code, asked(w))
				}
				s.setPassword(before) // what has ended does not come back
			}
		})
	}
}

// TestASessionOutlastsTheServer, and is another server's no more than its file says.
func TestASessionOutlastsTheServer(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".ifmatch"), 0o700); err != nil {
		t.Fatal(err)
	}
	table := func() *session.Table { return session.New(session.Of(dir, "", func(err error) { t.Error(err) }), nil) }
	s := newLoginServer(t, Config{Sessions: table()}, auth.Options{})
	cookie := s.login()
	line, err := os.ReadFile(s.users)
	if err != nil {
		t.Fatal(err)
	}
	again := newLoginServer(t, Config{Sessions: table()}, auth.Options{})
	again.setPassword(string(line))
	if w := again.ask(near, "GET", "/d/", "", append(person, cookie)...); w.Code != 200 {
		t.Errorf("after a restart: %d", w.Code)
	}
	if err := os.Rename(filepath.Join(dir, ".ifmatch"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if w := again.ask(near, "GET", "/d/", "", append(person, cookie)...); w.Code != 503 {
		t.Errorf("while the disk is away: %d, %s", w.Code, w.Body)
	}
}

// Where there are no users, nothing of the login shows.
func TestWithoutUsersThereIsNoLogin(t *testing.T) {
	h := inMemory(t, Config{Page: web.Full}, "d/", "d/f=1")
	for _, address := range []string{"/.ifmatch/login", "/.ifmatch/logout"} {
		for _, method := range []string{"GET", "POST"} {
			if w := ask(t, h, method, address, "", append(person, formType)...); w.Code != 404 {
				t.Errorf("%s %s: %d", method, address, w.Code)
			}
		}
	}
	page := ask(t, h, "GET", "/d/", "", person...)
	if page.Code != 200 || strings.Contains(page.Body.String(), "Log ") || strings.Contains(page.Body.String(), "who") {
		t.Errorf("%d, %s", page.Code, page.Body)
	}
}

// A reader whom the page does not know can log in, and one who has sent a password in another way cannot log out.
func TestThePageTellsWhoReadsIt(t *testing.T) {
	s := newLoginServer(t, Config{}, auth.Options{Anonymous: auth.ReadOnly})
	for about, tt := range map[string]struct {
		from, header  string
		user, in, out bool
	}{
		"nobody":                 {near, "X:y", false, true, false},
		"nobody over plain HTTP": {far, "X:y", false, false, false},
		"by a session":           {near, s.login(), true, false, true},
		"by Basic":               {near, "Authorization:Basic YW5uOnNlY3JldA==", true, false, false},
	} {
		page := s.ask(tt.from, "GET", "/d/", "", append(person, tt.header)...).Body.String()
		user, in, out := strings.Contains(page, ">ann</bdi>"), strings.Contains(page, `href="/.ifmatch/login?to=%2fd%2f"`), strings.Contains(page, ">Log out<")
		if user != tt.user || in != tt.in || out != tt.out {
			t.Errorf("%s: user %v, in %v, out %v in\n%s", about, user, in, out, page)
		}
	}
}

// A stream of events ends with the session of its reader, before it tells anything more.
func TestAStreamEndsWithItsSession(t *testing.T) {
	s := newLoginServer(t, Config{}, auth.Options{})
	server := httptest.NewServer(s.h)
	defer server.Close()
	base := server.URL
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a stream that does not end
	defer cancel()
	send := func(method, target, body string, header ...string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, base+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range append([]string{"Sec-Fetch-Site:same-origin"}, header...) {
			name, value, _ := strings.Cut(line, ":")
			r.Header.Set(name, value)
		}
		w, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Body.Close() })
		return w
	}
	in := send("POST", "/.ifmatch/login", "name=ann&password=secret", formType)
	cookie, _, _ := strings.Cut(in.Header.Get("Set-Cookie"), ";")
	events := send("GET", "/.ifmatch/events?path=/d/", "", "Cookie:"+cookie)
	if events.StatusCode != 200 {
		t.Fatal(events.Status)
	}
	lines := bufio.NewScanner(events.Body)
	send("PUT", "/d/seen", "1", "Cookie:"+cookie)
	for lines.Scan() && !strings.Contains(lines.Text(), "/d/seen") {
	}
	if out := send("POST", "/.ifmatch/logout", "", formType, "Cookie:"+cookie); out.StatusCode != 204 {
		t.Fatal(out.Status)
	}
	send("PUT", "/d/unseen", "2", "Authorization:Basic YW5uOnNlY3JldA==")
	for lines.Scan() {
		if strings.Contains(lines.Text(), "/d/unseen") {
			t.Errorf("told after the logout: %s", lines.Text())
		}
	}
	if ctx.Err() != nil {
		t.Error("the stream has not ended")
	}
}
