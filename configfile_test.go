package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// runProgram runs a command in this process.
func runProgram(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	app := newApp(&out, &out)
	err := app.RunContext(t.Context(), flagsFirst(app.Commands, append([]string{"ifmatch"}, args...)))
	return out.String(), err
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A flag counts before its variable, that before the file, and that before the default; and it is told whence each is.
func TestSettingsHaveAnOrder(t *testing.T) {
	file := writeConfig(t, `
[serve]
dir = "files"
addr = "127.0.0.1:1"
public-url = ["https://file.example", "https://other.example"]
history = "7d"
depth-infinity = 1
no-locks = true
tls-cert = "cert.pem"
tls-key = "/key.pem"
`)
	at := filepath.Dir(file)
	for _, tt := range []struct {
		about     string
		args      []string
		variables map[string]string
		want      []string
	}{
		{"the file", nil, nil, []string{
			`dir = "` + at + `/files" # file: ` + file,
			`addr = "127.0.0.1:1" # file: ` + file,
			`public-url = ["https://file.example", "https://other.example"] # file: ` + file,
			`history = "168h" # file: ` + file,
			`depth-infinity = 1 # file: ` + file,
			`no-locks = true # file: ` + file,
			`tls-cert = "` + at + `/cert.pem" # file: ` + file,
			`tls-key = "/key.pem" # file: ` + file,
			`grace = "10s" # default`,
		}},
		{"the environment", nil, map[string]string{
			"IFMATCH_ADDR": "127.0.0.1:2", "IFMATCH_HISTORY": "2h", "IFMATCH_PUBLIC_URL": "https://env.example",
			"IFMATCH_DEPTH_INFINITY": "2", "IFMATCH_NO_LOCKS": "false",
		}, []string{
			`addr = "127.0.0.1:2" # environment: IFMATCH_ADDR`,
			`public-url = ["https://env.example"] # environment: IFMATCH_PUBLIC_URL`,
			`history = "2h" # environment: IFMATCH_HISTORY`,
			`depth-infinity = 2 # environment: IFMATCH_DEPTH_INFINITY`,
			`no-locks = false # environment: IFMATCH_NO_LOCKS`,
		}},
		{"the variable for the directory", nil, map[string]string{"IFMATCH_DIR": "/env"}, []string{
			`dir = "/env" # environment: IFMATCH_DIR`,
		}},
		{"flags", []string{
			"--addr", "127.0.0.1:3", "--history=3h", "--public-url", "https://flag.example", "--depth-infinity", "3",
			"--no-locks=false", "/elsewhere",
		}, map[string]string{
			"IFMATCH_ADDR": "127.0.0.1:2", "IFMATCH_DEPTH_INFINITY": "2", "IFMATCH_DIR": "/env",
		}, []string{
			`dir = "/elsewhere" # argument`,
			`addr = "127.0.0.1:3" # flag`,
			`public-url = ["https://flag.example"] # flag`,
			`history = "3h" # flag`,
			`depth-infinity = 3 # flag`,
			`no-locks = false # flag`,
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			for name, value := range tt.variables {
				t.Setenv(name, value)
			}
			out, err := runProgram(t, append([]string{"config", "show", "--config", file}, tt.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			out = regexp.MustCompile(` +# `).ReplaceAllString(out, " # ")
			for _, line := range tt.want {
				if !strings.Contains(out, "\n"+line+"\n") {
					t.Errorf("no line %s in\n%s", line, out)
				}
			}
		})
	}
}

// The file knows each flag but the one that names it, and what is shown is a file that means the same.
func TestSettingsThatAreShownCanBeRead(t *testing.T) {
	values := map[string]string{
		"anonymous": "read", "user-header": "X-User", "user-header-from": "127.0.0.1", "groups-header": "X-Groups",
		"user-header-new": "staff", "addr": "127.0.0.1:7", "prefix": "/dav", "state-dir": "/state", "durability": "data",
		"history": "36h", "history-size": "1GB", "file-mode": "0640", "dir-mode": "2770", "junk": "refuse", "warm-up": "3",
		"watch": "off", "public-url": "https://a.example/dav", "trusted-proxy": "10.0.0.1",
		"cors-origin": "https://b.example",
		"drain-size":  "1MB", "cache-memory": "32MB", "delete-guard": "all", "depth-infinity": "7", "log-format": "json", "log-level": "warn",
		"admin": "127.0.0.1:9", "admin-host": "m.example", "acme": "c.example", "acme-directory": "https://d.example/",
		"acme-ca": "/ca.pem", "acme-email": "a@b.example", "redirect": ":80", "audit-log": "/audit", "users": "/users", "site": "/www",
	}
	skipped := map[string]bool{ // they contradict others
		"config": true, "tls-cert": true, "tls-key": true, "memory": true, "allow-anonymous": true, "blob-grace": true,
	}
	args := []string{"config", "show"}
	for _, f := range serveFlags() {
		name := f.Names()[0]
		if skipped[name] {
			continue
		}
		switch f.(type) {
		case *cli.BoolFlag:
			args = append(args, "--"+name)
		case *cli.GenericFlag:
			args = append(args, "--"+name, "90m")
		default:
			if values[name] == "" {
				t.Logf("no value for --%s here", name)
				continue
			}
			args = append(args, "--"+name, values[name])
		}
	}
	shown, err := runProgram(t, append(args, t.TempDir())...)
	if err != nil {
		t.Fatal(err)
	}
	file := writeConfig(t, shown)
	again, err := runProgram(t, "config", "show", "--config", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, shown)
	}
	origin := regexp.MustCompile(` +# .*`)
	if a, b := origin.ReplaceAllString(shown, ""), origin.ReplaceAllString(again, ""); a != b {
		t.Errorf("it is shown as\n%s\nand then as\n%s", a, b)
	}
	if strings.Contains(again, "# default") || strings.Contains(again, "# flag") {
		t.Errorf("not all is of the file:\n%s", again)
	}
}

// Users, groups and rules of the file are shown with the settings, and what is shown is a file that means the same.
func TestRulesThatAreShownCanBeRead(t *testing.T) {
	for _, tt := range []struct {
		about, text string
		args        []string
		want        []string
	}{
		{"settings alone", "[serve]\nno-locks = true\n", nil, []string{`no-locks = true # file: F`, `users = "" # default`}},
		{"no rules", "users = 'people'\n", nil, []string{`rule-count = 0 # file: F`, `users = "AT/people" # file: F`}},
		{"a flag before the file", "users = 'people'\n", []string{"--users", "/flag"}, []string{`users = "/flag" # flag`}},
		{"rules", `
users = "people"
ask-login = []
[groups]
staff = ["ann", "bob"]
[[rule]]
path = "/{user}"
who = ["authenticated"]
effects = ["all"]
[[rule]]
path = "/staff"
who = ["@staff"]
effects = ["read"]
require = "conditions"
[serve]
read-only = true
`, nil, []string{
			`rule-count = 2 # file: F`, `ask-login = [] # file: F`, `users = "AT/people" # file: F`, `read-only = true # file: F`,
			"\n# file: F\n[groups]", `staff = ["ann", "bob"]`, "[[rule]]", `path = "/{user}"`, `who = ["@staff"]`,
			`effects = ["read"]`, `require = "conditions"`,
		}},
	} {
		file := writeConfig(t, tt.text)
		show := func(file string, args ...string) string {
			t.Helper()
			out, err := runProgram(t, append([]string{"config", "show", "--config", file}, args...)...)
			if err != nil {
				t.Fatalf("%s: %v", tt.about, err)
			}
			return regexp.MustCompile(` +# `).ReplaceAllString(strings.ReplaceAll(out, file, "F"), " # ")
		}
		shown := show(file, tt.args...)
		for _, line := range tt.want {
			line = strings.ReplaceAll(line, "AT", filepath.Dir(file))
			if !strings.Contains("\n"+shown, "\n"+strings.TrimPrefix(line, "\n")) && !strings.Contains(shown, "  "+line) {
				t.Errorf("%s: no line %s in\n%s", tt.about, line, shown)
			}
		}
		again := show(writeConfig(t, shown))
		whence := regexp.MustCompile(`(?m) *# .*$`)
		if a, b := whence.ReplaceAllString(shown, ""), whence.ReplaceAllString(again, ""); a != b {
			t.Errorf("%s: it is shown as\n%s\nand then as\n%s", tt.about, a, b)
		}
	}
	if out, err := runProgram(t, "config", "show", "--config", writeConfig(t, "[[rule]]\npath = '/'\n")); err == nil {
		t.Errorf("rules that cannot be meant are shown: %s", out)
	}
}

// What cannot be meant is refused, with its line and what to write instead.
func TestSettingsThatCannotBeMeant(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"[serve]\naddr = 8080", `line 2: addr: write a text in quotation marks`},
		{"[serve]\n\nread-only = \"yes\"", `line 3: read-only: write true or false`},
		{"[serve]\ndepth-infinity = \"7\"", `line 2: depth-infinity: write a whole number`},
		{"[serve]\ndepth-infinity = 7.5", `line 2: depth-infinity: write a whole number`},
		{"[serve]\npublic-url = [1]", `line 2: public-url: write a list of texts`},
		{"[serve]\nadr = \"x\"", `line 2: the key "adr" is not known`},
		{"[serve]\nconfig = \"x\"", `line 2: the key "config" is not known`},
		{"[serve]\ndir = 7", `line 2: dir: write a path`},
		{"[serve]\ndir = \"\"", `line 2: dir: write a path`},
		{"serve = 7", `write serve as a table: [serve]`},
		{"[serve]\naddr = ", `line 2`},
		{"[serve]\nhistory = \"soon\"", `history = "soon"`},
		{"[serve]\nhistory-size = \"much\"", `--history-size "much"`},
		{"[serve]\nhsts = \"1d\"", `--hsts is about https`},
		{"[sevre]\naddr = \"x\"", `the key "sevre" is not known`},
		{"[[rule]]\npath = \"/\"\n", `line`},
	} {
		out, err := runProgram(t, "config", "check", writeConfig(t, tt.text+"\n"))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, %s; want %s", tt.text, err, out, tt.want)
		}
	}
	if _, err := runProgram(t, "config", "check", filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there can be used")
	}
	t.Setenv("IFMATCH_ADDR", "nonsense") // it is of this process, and not of the file
	t.Setenv("IFMATCH_HSTS", "1d")
	if out, err := runProgram(t, "config", "check", writeConfig(t, "[serve]\nhistory = \"7d\"\n")); err != nil {
		t.Errorf("%v, %s", err, out)
	}
}

// A file that has settings alone says nothing of users and rules; one that has rules does.
func TestSettingsAloneAreNoRules(t *testing.T) {
	for text, want := range map[string]bool{
		"[serve]\nhistory = \"7d\"\n": false,
		"":                            true,
		"[serve]\nhistory = \"7d\"\n[[rule]]\npath = \"/\"\nwho = [\"anonymous\"]\neffects = [\"read\"]\n": true,
	} {
		file := writeConfig(t, text)
		app := &cli.App{Flags: serveFlags(), Action: func(c *cli.Context) error {
			cfg, _, err := effectiveConfig(c, "")
			if got := cfg.Access.Config != ""; err != nil || got != want || cfg.ConfigFile != file {
				t.Errorf("%q: rules are read: %v, %v; want %v", text, got, err, want)
			}
			return nil
		}}
		if err := app.RunContext(t.Context(), []string{"serve", "--config", file}); err != nil {
			t.Error(err)
		}
	}
}
