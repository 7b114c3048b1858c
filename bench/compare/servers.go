package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"text/template"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// A server is a program that can be compared. One more is one more line in the table below.
type server struct {
	name string
	// program is a name in PATH, "self" for this program, or "ours" for the one that is measured.
	program string
	args    []string // templates, see [values]
	config  string   // a template of a file that the arguments name as {{.Config}}
	asks    []string // arguments with which the program tells its version
	only    []string // the workloads that the server takes part in (nil: all)
	not     []string // and those that it does not

	ours  bool   // a failure ends the comparison
	build bool   // a build of this server, which takes its flags
	none  bool   // takes part only where something is written
	raw   bool   // no server: the system calls that a workload takes
	tls   bool   // knows how to serve with a certificate
	path  string // of the program, when it was found
}

// values are for the templates of a server.
type values struct {
	Dir, State, Config, Addr, Port, Modules string
	Cert, Key                               string // empty: no TLS
	Root                                    bool   // the comparison runs as root
}

var known = []*server{
	{name: ours, program: "ours", ours: true, build: true, tls: true, asks: []string{"--version"}, args: oursArgs("full")},
	{name: oursNone, program: "ours", ours: true, build: true, none: true, args: oursArgs("none")},
	{name: "nginx", program: "nginx", tls: true, asks: []string{"-v"}, config: nginxConfig,
		args: []string{"-c", "{{.Config}}", "-p", "{{.State}}", "-e", "{{.State}}/errors", "-g", "daemon off;"}},
	{name: "lighttpd", program: "lighttpd", asks: []string{"-v"}, config: lighttpdConfig,
		args: []string{"-D", "-f", "{{.Config}}"}},
	{name: "apache", program: "apache2", asks: []string{"-v"}, config: apacheConfig,
		args: []string{"-d", "{{.State}}", "-f", "{{.Config}}", "-DFOREGROUND"}},
	{name: "xnet", program: "self", tls: true,
		args: []string{"compare", "-serve", "xnet", "{{.Dir}}", "{{.Addr}}", "{{.Cert}}", "{{.Key}}"}},
	// It sees files of other programs only after minutes, so it cannot be asked for unseen ones.
	{name: "rclone", program: "rclone", asks: []string{"version"},
		args: []string{"serve", "webdav", "{{.Dir}}", "--addr", "{{.Addr}}"}, not: []string{"list-first", "first-byte"}},
	{name: "hacdias", program: "webdav", asks: []string{"version"}, config: hacdiasConfig,
		args: []string{"-c", "{{.Config}}"}},
	{name: "caddy", program: "caddy", asks: []string{"version"}, config: caddyConfig,
		only: []string{"get1k", "get1k-disk", "get64k", "get256m", "304"},
		args: []string{"run", "--adapter", "caddyfile", "--config", "{{.Config}}"}},
	{name: "bare", program: "self", tls: true,
		only: []string{"get1k", "get1k-disk", "get1k-tls", "get1k-h2", "get64k", "get256m", "304", "start"},
		args: []string{"compare", "-serve", "bare", "{{.Dir}}", "{{.Addr}}", "{{.Cert}}", "{{.Key}}"}},
	{name: "raw", raw: true},
	{name: "raw3", raw: true, only: []string{"durable-over"}},
}

func oursArgs(durability string) []string {
	return []string{"serve", "--addr", "{{.Addr}}", "--log-level", "warn", "--durability", durability, "{{.Dir}}"}
}

const nginxConfig = `load_module {{.Modules}}/ngx_http_dav_ext_module.so;
{{if .Root}}user www-data;{{end}}
worker_processes auto;
pid {{.State}}/pid;
error_log {{.State}}/errors error;
events { worker_connections 768; }
http {
  sendfile on;
  tcp_nopush on;
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {{.State}}/body;
  proxy_temp_path {{.State}}/proxy;
  fastcgi_temp_path {{.State}}/fastcgi;
  uwsgi_temp_path {{.State}}/uwsgi;
  scgi_temp_path {{.State}}/scgi;
  server {
    listen {{.Addr}}{{if .Cert}} ssl http2{{end}};
{{if .Cert}}    ssl_certificate {{.Cert}};
    ssl_certificate_key {{.Key}};
{{end}}    root {{.Dir}};
    location / {
      dav_methods PUT DELETE MKCOL COPY MOVE;
      dav_ext_methods PROPFIND OPTIONS;
    }
  }
}
`

const lighttpdConfig = `server.modules = ("mod_webdav")
server.document-root = "{{.Dir}}"
server.bind = "127.0.0.1"
server.port = {{.Port}}
server.upload-dirs = ("{{.State}}")
webdav.activate = "enable"
mimetype.assign = ("" => "application/octet-stream")
`

const apacheConfig = `ServerRoot {{.State}}
ServerName localhost
Listen {{.Addr}}
PidFile {{.State}}/pid
ErrorLog {{.State}}/errors
{{if .Root}}User www-data
Group www-data
{{end}}LoadModule mpm_event_module {{.Modules}}/mod_mpm_event.so
LoadModule authz_core_module {{.Modules}}/mod_authz_core.so
LoadModule dav_module {{.Modules}}/mod_dav.so
LoadModule dav_fs_module {{.Modules}}/mod_dav_fs.so
DocumentRoot {{.Dir}}
DavLockDB {{.State}}/locks
<Directory {{.Dir}}>
  Dav On
  Require all granted
</Directory>
`

const hacdiasConfig = `address: 127.0.0.1
port: {{.Port}}
directory: {{.Dir}}
permissions: CRUD
`

const caddyConfig = `{
  admin off
}
http://{{.Addr}} {
  root * {{.Dir}}
  file_server
}
`

// moduleDirs are where Debian keeps the modules of nginx and Apache.
var moduleDirs = map[string]string{"nginx": "/usr/lib/nginx/modules", "apache": "/usr/lib/apache2/modules"}

// chooseServers returns ours, the peers that are named, and other builds of ours.
func chooseServers(peers, builds string) (chosen []*server, err error) {
	chosen = append(chosen, known[:2]...)
	for name := range strings.FieldsFuncSeq(peers, isComma) {
		i := slices.IndexFunc(known, func(s *server) bool { return s.name == name })
		if i < 2 {
			return nil, fmt.Errorf("there is no server %q to compare with", name)
		}
		if chosen = append(chosen, known[i]); name == "raw" {
			chosen = append(chosen, known[i+1])
		}
	}
	for build := range strings.FieldsFuncSeq(builds, isComma) {
		name, program, ok := strings.Cut(build, "=")
		if !ok {
			return nil, fmt.Errorf("-builds %q: write NAME=PROGRAM", build)
		}
		asks := []string{"--version"}
		chosen = append(chosen,
			&server{name: name, program: program, build: true, tls: true, asks: asks, args: oursArgs("full")},
			&server{name: name + " none", program: program, build: true, none: true, args: oursArgs("none")})
	}
	return chosen, nil
}

func isComma(r rune) bool { return r == ',' }

// find finds the program.
func (s *server) find(c *comparison) (err error) {
	switch s.program {
	case "":
	case "self":
		s.path = c.self
	case "ours":
		s.path = c.ifmatch
	default:
		if s.path, err = exec.LookPath(s.program); err != nil {
			s.path, err = exec.LookPath(filepath.Join("/usr/sbin", s.program))
		}
	}
	return err
}

var versionPattern = regexp.MustCompile(`v?\d+\.\d+[^\s(]*|\(devel\)`)

// version returns the version of the program, or "" if it does not tell.
func (s *server) version(ctx context.Context) string {
	if len(s.asks) == 0 {
		return ""
	}
	said, _ := exec.CommandContext(ctx, s.path, s.asks...).CombinedOutput() // without it the table has one word less
	return versionPattern.FindString(string(said))
}

// A site is a server on a directory of its own, with its result in one workload.
type site struct {
	*comparison
	server     *server
	workload   *workload
	result     *result
	dir, state string

	addr    string
	process *process // nil: it does not run
	errors  bytes.Buffer
	conns   []*conn
	stored  map[string][]byte // the content of the files that are read
	written ledger            // the content of those that are written
	tags    []string          // of the files
	bodies  atomic.Uint64     // that were made
	tally   tally
	listing []byte // an answer that was looked at in full
}

// start starts the server and waits until it answers.
func (s *site) start(ctx context.Context) error {
	port, err := servertest.FreePort()
	if err != nil {
		return err
	}
	s.addr = net.JoinHostPort("127.0.0.1", port)
	args, err := s.arguments()
	if err != nil {
		return err
	}
	s.errors.Reset()
	cmd := exec.Command(s.server.path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.state, &s.errors, &s.errors
	cmd.Env = append(os.Environ(), "HOME="+s.state, "XDG_DATA_HOME="+s.state, "XDG_CONFIG_HOME="+s.state)
	if s.process, err = startProcess(cmd); err != nil {
		return err
	}
	return s.answers(ctx)
}

// answers waits until the server answers a request.
func (s *site) answers(ctx context.Context) error {
	for until := time.Now().Add(patience); ; {
		c := s.newConn()
		_, err := c.do(&message{method: "GET", path: "/" + startName})
		c.close()
		switch {
		case err == nil:
			return nil
		case s.process.hasEnded():
			return errors.Join(errors.New("the server has ended"), s.stop())
		case time.Now().After(until), ctx.Err() != nil:
			return fmt.Errorf("the server does not answer: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// arguments writes the configuration and returns the arguments.
func (s *site) arguments() (args []string, err error) {
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return nil, err
	}
	v := values{Dir: s.dir, State: s.state, Config: filepath.Join(s.state, "config"), Addr: s.addr, Port: port,
		Modules: moduleDirs[s.server.name], Root: os.Geteuid() == 0}
	if s.workload.secure {
		v.Cert, v.Key = s.certificate.cert, s.certificate.key
	}
	expand := func(text string) (string, error) {
		var b strings.Builder
		t, err := template.New("").Parse(text)
		if err == nil {
			err = t.Execute(&b, v)
		}
		return b.String(), err
	}
	if s.server.config != "" {
		text, err := expand(s.server.config)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(v.Config, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	for _, arg := range append(s.server.args, s.workload.flagsOf(s.server)...) {
		text, err := expand(arg)
		if err != nil {
			return nil, err
		}
		args = append(args, text)
	}
	return args, nil
}

// stop ends the server.
func (s *site) stop() error {
	for _, c := range s.conns {
		c.close()
	}
	s.conns = nil
	if s.process == nil {
		return nil
	}
	err := s.process.stop()
	s.process = nil
	return err
}

// said returns the last lines that the server has logged, for a message.
func (s *site) said() string {
	text := s.errors.Bytes()
	if s.process != nil && !s.process.hasEnded() {
		return "" // it may still write
	}
	if more, err := os.ReadFile(filepath.Join(s.state, "errors")); err == nil {
		text = append(text, more...)
	}
	if text = bytes.TrimSpace(text[max(0, len(text)-500):]); len(text) == 0 {
		return ""
	}
	return "\nit says: " + string(text)
}
