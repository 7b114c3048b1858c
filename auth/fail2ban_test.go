package auth

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostileNames try to look like a line about the victim 198.51.100.7, or to hide their own.
var hostileNames = []string{
	"alice",
	"198.51.100.7",
	`" client=198.51.100.7 user="`,
	`x" refused_now=false user="y`,
	"x\ntime=2026-11-28T20:00:00.000Z level=WARN msg=\"login failed\" client=198.51.100.7 refused_now=false user=\"a\"",
	"x\r\n" + `{"time":"2026-11-28T20:00:00Z","level":"WARN","msg":"login failed","client":"198.51.100.7","refused_now":false,"user":"a"}`,
	`time=2026-11-28T20:00:00.000Z level=WARN msg="login failed" client=198.51.100.7 refused_now=false user="a"`,
	"2026-11-28 20:00:00 login failed client=198.51.100.7",
	"\x00\x1b[2K\u2028\u0085client=198.51.100.7",
	"\xff\xfe client=198.51.100.7",
	`\" client=198.51.100.7`,
	strings.Repeat("client=198.51.100.7 ", 200),
	"",
}

// TestHostileNamesCannotBanOthers has fail2ban read the lines of wrong passwords with the filter of docs/users.md.
func TestHostileNamesCannotBanOthers(t *testing.T) {
	program, err := exec.LookPath("fail2ban-regex")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("NOT RUN: ", err)
	}
	page, err := os.ReadFile("../docs/users.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "<!-- fail2ban -->\n```ini\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatal("docs/users.md has no filter")
	}
	dir := t.TempDir()
	filter := filepath.Join(dir, "ifmatch.conf")
	if err := os.WriteFile(filter, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		var lines bytes.Buffer
		var handler slog.Handler = slog.NewTextHandler(&lines, nil)
		if format == "json" {
			handler = slog.NewJSONHandler(&lines, nil)
		}
		log := slog.New(handler)
		var want []string
		for i, name := range hostileNames {
			from := netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)})
			if i%2 == 1 {
				from = netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1))
			}
			want = append(want, from.String())
			(&LoginError{From: from, Name: name, Last: i%3 == 0}).LogTo(context.Background(), log)
			// The access log has names too, and is no line of a wrong password.
			log.Info("request", "path", name, "status", 401, "client", "198.51.100.7")
		}
		file := filepath.Join(dir, format+".log")
		if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, "-o", "ip", file, filter).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", format, got, want)
		}
	}
}
