package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/manual"

	"github.com/urfave/cli/v2"
)

// tool returns the path of a program that the machine may lack. CI has it.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("%v, and CI needs it", err)
	} else if err != nil {
		t.Skip("NOT RUN: ", err)
	}
	return path
}

// printed returns the output of a command of the program.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := newApp(&out, &out).RunContext(t.Context(), append([]string{"ifmatch"}, args...)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The units are well-formed, and a server has few rights.
func TestUnitsAreVerified(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ifmatch.service", "ifmatch.socket"} {
		text := strings.ReplaceAll(readPage(t, "dist/systemd/"+name), "/usr/bin/ifmatch", program)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dropIns := []string{"", "directory.conf", "lease.conf", "port.conf"}
	if n := systemdVersion(t, analyze); n >= 253 {
		dropIns = append(dropIns, "reload.conf")
	} else {
		t.Logf("NOT RUN: reload.conf needs systemd 253, and this is %d", n)
	}
	for _, dropIn := range dropIns {
		if dropIn != "" {
			to := filepath.Join(dir, "ifmatch.service.d")
			if err := os.MkdirAll(to, 0o755); err != nil {
				t.Fatal(err)
			}
			text := readPage(t, "dist/systemd/"+dropIn)
			if err := os.WriteFile(filepath.Join(to, dropIn), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{
			{"verify", "--man=no", "./ifmatch.service", "./ifmatch.socket"},
			{"security", "--offline=true", "--threshold=20", "./ifmatch.service"},
		} {
			cmd := exec.CommandContext(t.Context(), analyze, args...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil || args[0] == "verify" && len(out) > 0 {
				t.Errorf("%q with %q: %v\n%s", args, dropIn, err, out)
			}
		}
		if dropIn != "" {
			os.Remove(filepath.Join(dir, "ifmatch.service.d", dropIn))
		}
	}
}

// TestUnitsOfAClusterAreVerified: the example of two hosts changes the unit that is shipped.
func TestUnitsOfAClusterAreVerified(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"dist/systemd/ifmatch.service":           "ifmatch.service",
		"deploy/cluster/systemd/cluster.conf":    "ifmatch.service.d/cluster.conf",
		"deploy/cluster/systemd/srv-blobs.mount": "srv-blobs.mount",
	} {
		text := strings.ReplaceAll(readPage(t, from), "/usr/bin/ifmatch", program)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"verify", "--man=no", "./ifmatch.service", "./srv-blobs.mount"},
		{"security", "--offline=true", "--threshold=20", "./ifmatch.service"},
	} {
		cmd := exec.CommandContext(t.Context(), analyze, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// systemdVersion returns the version of systemd on this machine.
func systemdVersion(t *testing.T, analyze string) (n int) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), analyze, "--version").Output()
	if err == nil {
		_, err = fmt.Sscanf(string(out), "systemd %d", &n)
	}
	if err != nil {
		t.Fatalf("%s --version: %v, %s", analyze, err, out)
	}
	return n
}

func TestUserOfTheServiceIsMade(t *testing.T) {
	file, err := filepath.Abs("dist/sysusers.d/ifmatch.conf")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool(t, "systemd-sysusers"), "--root="+root, file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	users, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil || !regexp.MustCompile(`(?m)^ifmatch:.*:/var/lib/ifmatch:.*nologin$`).Match(users) {
		t.Errorf("%v: %s", err, users)
	}
}

// Each variable in what is shipped is that of a flag, and each file that one of them names is shipped, too.
func TestShippedFilesNameFlags(t *testing.T) {
	known := append(flagVariables(), "IFMATCH_DIR")
	files := 0
	check := func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		for _, name := range regexp.MustCompile(`IFMATCH_[A-Z_]+`).FindAllString(readPage(t, path), -1) {
			if !slices.Contains(known, name) {
				t.Errorf("%s has the variable %s, which no flag has", path, name)
			}
		}
		return nil
	}
	err := errors.Join(filepath.WalkDir("dist", check), filepath.WalkDir("deploy/cluster/systemd", check),
		filepath.WalkDir("deploy/cluster/kubernetes", check))
	if err != nil || files < 12 {
		t.Errorf("%d files, %v", files, err)
	}
}

// The image has the program alone, so the program must need nothing else, and not be run as root.
func TestContainerIsNotRoot(t *testing.T) {
	text := readPage(t, "dist/container/Containerfile")
	for _, line := range []string{
		"FROM scratch", "USER 1000:1000", "COPY ifmatch /ifmatch", `ENTRYPOINT ["/ifmatch"]`, `CMD ["serve", "/data"]`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if compose := readPage(t, "dist/container/compose.yaml"); strings.Contains(compose, "privileged") ||
		!strings.Contains(compose, "cap_drop: [ALL]") || !strings.Contains(compose, "read_only: true") {
		t.Error("the service may do more than it must")
	}
}

// The manual page has each command and each flag with its variable, and is well-formed.
func TestManualIsWhole(t *testing.T) {
	page := printed(t, "man")
	plain := strings.NewReplacer(`\-`, "-", `\fB`, "", `\fR`, "", `\fI`, "").Replace(page)
	manual.Each(newApp(nil, nil), func(path string, c *cli.Command) {
		_, section, found := strings.Cut(plain, "\n.SS ifmatch "+path+" ")
		if !found {
			t.Errorf("no section for ifmatch %s", path)
		}
		section, _, _ = strings.Cut(section, "\n.SS ")
		for paragraph := range strings.SplitSeq(c.Description, "\n") {
			if !strings.Contains(section, paragraph) {
				t.Errorf("ifmatch %s does not say %q", path, paragraph)
			}
		}
		for _, f := range c.Flags {
			if !strings.Contains(section, "\n--"+f.Names()[0]) {
				t.Errorf("ifmatch %s has no --%s", path, f.Names()[0])
			}
			for _, variable := range f.(cli.DocGenerationFlag).GetEnvVars() {
				if !strings.Contains(section, "$"+variable) {
					t.Errorf("ifmatch %s has no $%s", path, variable)
				}
			}
		}
	})
	file := filepath.Join(t.TempDir(), "ifmatch.1")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool(t, "groff"), "-Kutf8", "-man", "-ww", "-z", "-Tutf8", file).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestBashCompletes(t *testing.T) {
	script := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(script, []byte(printed(t, "completion", "bash")), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ line, want string }{
		{"ifmatch hist", "history"},
		{"ifmatch history l", "list"},
		{"ifmatch history list --d", "--dir"},
		{"ifmatch history list f --d", "--dir"},
		{"ifmatch user token a", "add"},
		{"ifmatch user token add --exp", "--expires"},
		{"ifmatch serve --tls-", "--tls-cert --tls-key"},
		{"ifmatch serve --addr :80 dir --read-o", "--read-only"},
		{"ifmatch completion z", "zsh"},
		{"ifmatch nothing-l", ""},
	} {
		const complete = `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ifmatch; echo "${COMPREPLY[@]}"`
		cmd := exec.Command(tool(t, "bash"), "-c", complete)
		cmd.Args = append(append(cmd.Args, script), strings.Fields(tt.line)...)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.line, got, err, tt.want)
		}
	}
}

// The other shells take their scripts, where they are installed: .ci/long installs them.
func TestOtherShellsTakeTheirScripts(t *testing.T) {
	for _, shell := range []string{"zsh", "fish"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("NOT RUN: %v", err)
			continue
		}
		script := filepath.Join(t.TempDir(), "completion")
		if err := os.WriteFile(script, []byte(printed(t, "completion", shell)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(path, "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
	for _, shell := range manual.Shells {
		script := printed(t, manual.CompletionName, shell)
		manual.Each(newApp(nil, nil), func(path string, c *cli.Command) {
			words := strings.Fields(path)
			if !strings.Contains(script, words[len(words)-1]) {
				t.Errorf("%s does not know ifmatch %s", shell, path)
			}
			for _, f := range c.Flags {
				if name := f.Names()[0]; !strings.Contains(script, "--"+name) && !strings.Contains(script, "-l "+name) {
					t.Errorf("%s does not know --%s of ifmatch %s", shell, name, path)
				}
			}
		})
	}
}

// A reload that systemd follows needs no command, and each drop-in is packaged.
func TestDropInsAreShipped(t *testing.T) {
	reload := readPage(t, "dist/systemd/reload.conf")
	for _, line := range []string{"[Service]", "Type=notify-reload", "ExecReload="} {
		if !strings.Contains(reload, "\n"+line+"\n") {
			t.Errorf("reload.conf has no line %s", line)
		}
	}
	files, err := filepath.Glob("dist/systemd/*")
	if err != nil || len(files) < 6 {
		t.Fatalf("%q, %v", files, err)
	}
	packaged := readPage(t, "dist/nfpm.yaml")
	for _, file := range files {
		if !strings.Contains(packaged, "{src: "+filepath.ToSlash(file)+",") {
			t.Errorf("dist/nfpm.yaml does not have %s", file)
		}
	}
}
