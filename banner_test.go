package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/handler"
)

// The banner fits the configuration, and has the format of the log. The first line is for programs.
func TestBanner(t *testing.T) {
	const first = `^ifmatch: serving \S+ at http://127\.0\.0\.1:8080/\n`
	for _, test := range []struct {
		about string
		cfg   Config
		says  []string
		not   []string
	}{
		{"as it comes", Config{}, []string{
			`  try: +curl -T FILE http://127\.0\.0\.1:8080/\n`, `  copy: +rclone copy LOCALDIR :webdav: `, `  writes: +durability full\n`, `  warning: +a doubt\n`}, nil},
		{"read-only", Config{Config: handler.Config{ReadOnly: true}}, []string{
			`  try: +curl http://`, `  mount: +sudo mount -t davfs -o ro http://`, `  copy: +rclone copy :webdav: LOCALDIR `, `  disk: +read-only`}, []string{"writes:", "-T FILE"}},
		{"in memory", Config{Memory: true}, []string{`  disk: +in memory: nothing is durable`}, []string{"writes:", "durability", "root"}},
		{"a weak durability", Config{Durability: fs.None}, []string{`  warning: +the last writes may be lost`}, nil},
		{"warnings only", Config{LogLevel: slog.LevelWarn}, []string{`  warning: +a doubt\n`}, []string{"try:", "disk:", "writes:"}},
		{"errors only", Config{LogLevel: slog.LevelError}, nil, []string{"warning:", "try:", "a doubt"}},
		{"JSON", Config{LogJSON: true}, []string{
			`\{"time":"[^"]*","level":"INFO","msg":"serving","dir":"[^"]*","url":"http://127\.0\.0\.1:8080/","disk":"[^"]+","writes":"durability full"\}\n`,
			`\{"time":"[^"]*","level":"WARN","msg":"a doubt"\}\n`}, []string{"try:", "warning:"}},
		{"JSON, errors only", Config{LogJSON: true, LogLevel: slog.LevelError}, nil, []string{"{", "a doubt"}},
	} {
		t.Run(test.about, func(t *testing.T) {
			test.cfg.Dir = t.TempDir()
			below, err := fs.Open(test.cfg.Dir, fs.Options{})
			if test.cfg.Memory {
				below, err = openDir(test.cfg, slog.New(slog.DiscardHandler))
			}
			if err != nil {
				t.Fatal(err)
			}
			defer below.Close()
			var out bytes.Buffer
			printBanner(&out, newLog(test.cfg, &out), test.cfg, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, below.Abilities(), []string{"a doubt"})
			for _, want := range append(test.says, first) {
				if !regexp.MustCompile(want).MatchString(out.String()) {
					t.Errorf("it does not say %q:\n%s", want, &out)
				}
			}
			for _, not := range test.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("it says %q:\n%s", not, &out)
				}
			}
			root := os.Geteuid() == 0 && !test.cfg.Memory && test.cfg.LogLevel <= slog.LevelWarn
			if got := strings.Contains(out.String(), "the server runs as root"); got != root {
				t.Errorf("it says that it runs as root: %v, want %v", got, root)
			}
		})
	}
}
