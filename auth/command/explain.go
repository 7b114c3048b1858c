package command

import (
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/settings"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Explain returns the command ifmatch explain. It names the rules that decide about a path.
func Explain(n Needs) *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "print what a user may do with PATH, and the rules that decide it", ArgsUsage: "PATH",
		Description: "PATH is below what is served, such as /projects/plan.txt. Nothing is looked for on the disk: " +
			"rules are about names.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "user", Usage: "`NAME` of the user (default: anonymous)"},
			n.Users,
			&cli.PathFlag{Name: "config", Usage: "configuration `FILE` with groups and rules", EnvVars: settings.Variables("config")},
			&cli.StringFlag{Name: "anonymous", Usage: "`WHAT` everybody may do: none, read or write",
				EnvVars: settings.Variables("anonymous")},
			&cli.StringFlag{Name: "groups", Usage: "`GROUPS` that a proxy names, with commas between them"},
		},
		OnUsageError: n.Misused,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usage.Errorf("name one path: ifmatch explain PATH --user NAME")
			}
			access, err := n.accessOf(c)
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(path.Clean("/"+c.Args().First()), "/")
			if err := tree.CheckName(name); err != nil {
				return usage.Errorf("%s: %v", c.Args().First(), err)
			}
			explain(c.App.Writer, c.Path("config"), name, access)
			return nil
		},
	}
}

// accessOf reads the principal of a command line.
func (n Needs) accessOf(c *cli.Context) (auth.Access, error) {
	anonymous, err := Anonymous(c.String("anonymous"))
	if err != nil {
		return auth.Access{}, err
	}
	authority, err := auth.Open(auth.Options{Users: c.Path("users"), Config: c.Path("config"), OldHashes: true, Alike: n.Alike,
		Anonymous: anonymous})
	if err != nil {
		return auth.Access{}, err
	}
	who := auth.Principal{Name: auth.NormalName(c.String("user"))}
	if who.Name != "" && !authority.Now().Knows(who.Name) {
		return auth.Access{}, usage.Errorf("there is no user %q: name the users file with --users, or in the --config",
			who.Name)
	}
	for group := range strings.SplitSeq(c.String("groups"), ",") {
		if group = strings.TrimSpace(group); group != "" {
			who.Groups = append(who.Groups, auth.NormalName(group))
		}
	}
	for _, doubt := range authority.Now().Doubts() {
		fmt.Fprintf(c.App.ErrWriter, "ifmatch: %s\n", doubt)
	}
	return authority.Now().Access(who), nil
}

// Anonymous reads the value of --anonymous.
func Anonymous(s string) (auth.Effects, error) {
	switch s {
	case "", "none":
		return auth.None, nil
	case "read":
		return auth.ReadOnly, nil
	case "write":
		return auth.ReadWrite, nil
	}
	return auth.None, usage.Errorf("--anonymous %q is not known: use none, read or write", s)
}

// explain prints the rights of an access on a name.
func explain(w io.Writer, config, name string, access auth.Access) {
	e := access.Explain(name)
	fmt.Fprintf(w, "%s may do with /%s: %s\n", access.Principal(), name, e.Effects)
	if e.Policy {
		fmt.Fprintln(w, "  and must say which version it means, to replace or remove it (428)")
	}
	if e.Rules == nil {
		fmt.Fprintln(w, "  no rule has a path that matches")
	} else {
		fmt.Fprintf(w, "  decided by the rules for %s\n", e.Deciding)
	}
	for _, rule := range e.Rules {
		where, who := "by default", "for "+rule.Who.String()
		if rule.Line > 0 {
			where = fmt.Sprintf("%s:%d", config, rule.Line)
		}
		if !rule.Names {
			who = "only " + who
		}
		if require := rule.Require.String(); require != "" {
			who += ", requires " + require
		}
		fmt.Fprintf(w, "    %s: %s: %s\n", where, who, rule.Effects)
	}
	for _, other := range e.Spellings {
		fmt.Fprintf(w, "  and by what is granted on /%s, which some disks take for the same name: %s\n", other.Name,
			other.Effects)
	}
	if e.TooMany {
		fmt.Fprintln(w, "  and by the rules for more spellings of the name than are looked at: so nothing is granted")
	}
	fmt.Fprintf(w, "with all that is below: %s\n", e.Subtree)
	for _, below := range e.Below {
		fmt.Fprintf(w, "    on %s: %s\n", below.Path, below.Effects)
	}
	switch {
	case e.Effects.Has(auth.List):
		fmt.Fprintln(w, "it is seen")
	case e.Seen:
		fmt.Fprintln(w, "it is seen as a collection, on the way to what is below")
	default:
		fmt.Fprintln(w, "it is not seen: reads are answered 404, and writes 403")
	}
}
