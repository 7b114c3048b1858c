package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/duration"
	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
)

// TestFlagsHaveVariables makes sure that a flag cannot be forgotten in the environment.
func TestFlagsHaveVariables(t *testing.T) {
	for _, flag := range serveFlags() {
		name := flag.Names()[0]
		got := flag.(cli.DocGenerationFlag).GetEnvVars()
		if want := env(name); !slices.Equal(got, want) {
			t.Errorf("--%s has %q, want %q", name, got, want)
		}
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	commands := newApp(nil, nil).Commands
	for _, test := range []struct{ args, want string }{
		{"ifmatch", "ifmatch"},
		{"ifmatch bogus f -x", "ifmatch bogus f -x"},
		{"ifmatch history bogus f -x", "ifmatch history bogus f -x"},
		{"ifmatch index warm d --jobs 2", "ifmatch index warm --jobs 2 -- d"},
		{"ifmatch user token add n d --expires 9d", "ifmatch user token add --expires 9d -- n d"},
		{"ifmatch config show d --read-only", "ifmatch config show --read-only -- d"},
		{"ifmatch doctor --verify --store s", "ifmatch doctor --verify --store s"},
		{"ifmatch explain /a --anonymous read", "ifmatch explain --anonymous read -- /a"},
		{"ifmatch etag f --store s", "ifmatch etag --store s -- f"},
		{"ifmatch serve", "ifmatch serve"},
		{"ifmatch serve --help", "ifmatch serve --help"},
		{"ifmatch serve --addr :0 d", "ifmatch serve --addr :0 -- d"},
		{"ifmatch serve d --addr :0", "ifmatch serve --addr :0 -- d"},
		{"ifmatch serve d --addr=:0 --read-only e", "ifmatch serve --addr=:0 --read-only -- d e"},
		{"ifmatch serve --read-only d --prefix /x", "ifmatch serve --read-only --prefix /x -- d"},
		{"ifmatch serve -- --d", "ifmatch serve -- --d"},
		{"ifmatch serve --read-only -- -d", "ifmatch serve --read-only -- -d"},
		{"ifmatch history list f --dir d", "ifmatch history list --dir d -- f"},
		{"ifmatch history restore f --at=1h", "ifmatch history restore --at=1h -- f"},
		{"ifmatch history --help", "ifmatch history --help"},
		{"ifmatch serve d --addr", "ifmatch serve --addr"},
	} {
		if got := strings.Join(flagsFirst(commands, strings.Fields(test.args)), " "); got != test.want {
			t.Errorf("%q becomes %q, want %q", test.args, got, test.want)
		}
	}
}

// Every flag that is a duration can be given in days, and is shown as people write it.
func TestFlagsInDays(t *testing.T) {
	for _, f := range serveFlags() {
		if _, ok := f.(*cli.DurationFlag); ok {
			t.Errorf("--%s cannot be given in days", f.Names()[0])
		}
	}
	app := cli.App{Flags: serveFlags(), Action: func(c *cli.Context) error {
		cfg, err := configOf(c)
		if err != nil {
			return err
		}
		if cfg.History.Keep != duration.Week || cfg.Rescan != duration.Day || cfg.Grace != 10*time.Second {
			t.Errorf("got %v, %v, %v", cfg.History.Keep, cfg.Rescan, cfg.Grace)
		}
		return nil
	}}
	if err := app.Run([]string{"serve", "--history", "7d", "--rescan", "1d"}); err != nil {
		t.Error(err)
	}
}

// Help fits, has each paragraph in one piece, and calls no value by the name of an example.
func TestHelp(t *testing.T) {
	var commands [][]string
	var collect func(path []string, all []*cli.Command)
	collect = func(path []string, all []*cli.Command) {
		for _, c := range all {
			here := append(slices.Clip(path), c.Name)
			for paragraph := range strings.SplitSeq(c.Description, "\n") {
				if end := paragraph[max(0, len(paragraph)-1):]; c.Name != "etag" && strings.Trim(end, ".:") != "" {
					t.Errorf("%q has a paragraph that ends in %q", here, paragraph)
				}
			}
			commands = append(commands, here)
			collect(here, c.Subcommands)
		}
	}
	collect([]string{"ifmatch"}, newApp(nil, nil).Commands)
	commands = append(commands, []string{"ifmatch"})
	for _, command := range commands {
		var out bytes.Buffer
		if err := newApp(&out, &out).RunContext(t.Context(), append(command, "--help")); err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 100 {
				t.Errorf("%q has a line of %d bytes: %s", command, len(line), line)
			}
		}
	}
	for _, f := range serveFlags() {
		usage := f.(cli.DocGenerationFlag).GetUsage()
		if !f.(cli.DocGenerationFlag).TakesValue() {
			continue
		}
		_, rest, found := strings.Cut(usage, "`")
		placeholder, _, _ := strings.Cut(rest, "`")
		if !found || placeholder != strings.ToUpper(placeholder) {
			t.Errorf("--%s has %q for its value", f.Names()[0], placeholder)
		}
		shown := helptext.Flag(f)
		if !strings.HasPrefix(shown, "   --"+f.Names()[0]+" "+placeholder+"  [$"+env(f.Names()[0])[0]+"]\n") || strings.Contains(shown, "`") {
			t.Errorf("it is shown as %s", shown)
		}
	}
}

// commandsWith returns the command lines of all commands that have two flags.
func commandsWith(t *testing.T, one, other string) (all [][]string) {
	t.Helper()
	var collect func(path []string, commands []*cli.Command)
	collect = func(path []string, commands []*cli.Command) {
		for _, c := range commands {
			here := append(slices.Clip(path), c.Name)
			collect(here, c.Subcommands)
			has := func(name string) bool {
				return slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == name })
			}
			if has(one) && has(other) {
				all = append(all, here)
			}
		}
	}
	collect([]string{"ifmatch"}, newApp(nil, nil).Commands)
	if len(all) == 0 {
		t.Errorf("no command has both --%s and --%s", one, other)
	}
	return all
}

// flagWith returns a flag of a command line as it is written with a value.
func flagWith(name string) []string {
	switch name {
	case "verify", "fix", "replace", "into", "dry-run", "old-hashes", "insecure-basic":
		return []string{"--" + name}
	case "blob-grace", "publish-grace":
		return []string{"--" + name, "36h"}
	}
	return []string{"--" + name, "/none/x"}
}

// TestFlagsNeedTheirPartners: a flag that says nothing without another one is refused without it, in each command, and the
// other one is named. So does its help.
func TestFlagsNeedTheirPartners(t *testing.T) {
	const refusal = " belongs to --"
	run := func(args ...string) string {
		var out bytes.Buffer
		err := newApp(&out, &out).RunContext(t.Context(), args)
		if err == nil {
			t.Errorf("%q succeeds: %s", args, &out)
			return ""
		}
		if strings.Contains(err.Error(), refusal) && exitCode(err) != statusTrouble {
			t.Errorf("%q has status %d: %v", args, exitCode(err), err)
		}
		return err.Error()
	}
	for _, row := range partners {
		for _, with := range row.with {
			for _, command := range commandsWith(t, row.flag, with) {
				if command[1] == "config" { // it has the flags of serve
					continue
				}
				if command[1] == "serve" {
					command = append(command, "--addr", "none") // so that no server starts
				}
				alone, want := append(slices.Clip(command), flagWith(row.flag)...), "--"+row.flag+refusal
				if got := run(alone...); !strings.HasPrefix(got, want+row.with[0]) {
					t.Errorf("%q: %s", alone, got)
				}
				if got := run(append(alone, flagWith(with)...)...); strings.HasPrefix(got, want) {
					t.Errorf("%q with --%s: %s", alone, with, got)
				}
			}
		}
	}
	named := regexp.MustCompile(`^with --([a-z-]+)`)
	var check func(commands []*cli.Command)
	check = func(commands []*cli.Command) {
		for _, c := range commands {
			check(c.Subcommands)
			for _, f := range c.Flags {
				name, usage := f.Names()[0], f.(cli.DocGenerationFlag).GetUsage()
				row := slices.IndexFunc(partners, func(p partner) bool { return p.flag == name })
				found := named.FindStringSubmatch(usage)
				if found != nil && (row < 0 || !slices.Contains(partners[row].with, found[1])) {
					t.Errorf("ifmatch %s --%s is given %s, as its help says, and without it is taken", c.Name, name, found[0])
				}
				if row >= 0 && c.Name != "prune" && !strings.Contains(usage, "--"+partners[row].with[0]) {
					t.Errorf("the help of ifmatch %s --%s names no partner: %s", c.Name, name, usage)
				}
			}
		}
	}
	check(newApp(nil, nil).Commands)
}
