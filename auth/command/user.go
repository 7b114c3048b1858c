// Package command has the commands about users and their rights: ifmatch user, and ifmatch explain.
package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/links"
)

// Needs are the parts of the program that the commands use.
type Needs struct {
	Misused cli.OnUsageErrorFunc
	Users   cli.Flag                          // names the users file
	Days    func(flags []cli.Flag) []cli.Flag // makes flags take days
	Alike   func(a, b string) bool            // whether a disk may take two names for one
	// Shelf opens the share links of several servers in a database.
	Shelf func(ctx context.Context, address string) (shelf links.Shelf, closed func() error, err error)
}

// User returns the command ifmatch user. It edits a users file. A server that uses the file takes the change over.
func User(n Needs) *cli.Command {
	sub := func(name, args, about, description string, flags []cli.Flag, do cli.ActionFunc) *cli.Command {
		return &cli.Command{
			Name: name, ArgsUsage: args, Usage: about, Description: description, OnUsageError: n.Misused,
			Flags: append([]cli.Flag{n.Users}, flags...),
			Action: func(c *cli.Context) error {
				if c.Path("users") == "" {
					return usage.Errorf("name the users file: %s --users FILE %s", c.Command.HelpName, args)
				}
				if err := checkArguments(c, args); err != nil {
					return err
				}
				return do(c)
			},
		}
	}
	const password = "The password is asked for on the terminal, or else it is the first line of the standard input."
	store := &cli.StringFlag{Name: "store",
		Usage: "the share links are in the database at an `ADDRESS`, as that of ifmatch serve, and not beside the " +
			"users file"}
	noPassword := &cli.BoolFlag{Name: "no-password", Usage: "let the user log in by app tokens and a proxy alone"}
	expires := &cli.DurationFlag{Name: "expires", Value: 365 * 24 * time.Hour,
		Usage: "for how long a `TIME`, such as 90d, the token is good"}
	effects := &cli.StringFlag{Name: "effects",
		Usage: "all `EFFECTS` that the token may be used for, with commas between them, such as list,read"}
	tokens := helptext.Group(n.Misused, "token", "make, list and revoke app tokens, one for each device of a user",
		"They are kept in FILE.tokens beside the users file, as SHA-256.",
		sub("add", "NAME TOKEN", "make an app token, and print it once",
			"A program sends it in place of the password of the user NAME. TOKEN is what the device is called.",
			n.Days([]cli.Flag{expires, effects}), addToken),
		sub("list", "[NAME]", "list the app tokens, of all users or of one",
			"A line has the user, the token, when it was made, when it expires, and what it may be used for.", nil, listTokens),
		sub("revoke", "NAME TOKEN", "make an app token useless", "", nil, revokeToken))
	return helptext.Group(n.Misused, "user", "edit the file with users and the hashes of their passwords",
		"The file is as htpasswd writes it, with argon2id or bcrypt. A server that uses it takes a change over within a few "+
			"seconds.",
		sub("add", "NAME", "add a user", password, []cli.Flag{noPassword, store}, n.addUser),
		sub("passwd", "NAME", "set the password of a user anew", password, []cli.Flag{noPassword, store},
			n.setPassword),
		sub("remove", "NAME", "remove a user, and the app tokens and share links of that user", "", []cli.Flag{store},
			n.removeUser),
		sub("list", "", "list the users",
			"A line has the user, what the password is hashed with, and the number of app tokens.", nil, listUsers),
		tokens)
}

// checkArguments compares arguments with their names in a usage text: "NAME", "NAME TOKEN", "[NAME]", "".
func checkArguments(c *cli.Context, args string) error {
	most := len(strings.Fields(args))
	least := most - strings.Count(args, "[")
	switch n := c.NArg(); {
	case n < least:
		return usage.Errorf("write %s --users FILE %s", c.Command.HelpName, args)
	case n > most:
		return usage.Errorf("%s takes no argument %q", c.Command.HelpName, c.Args().Get(most))
	}
	for _, name := range c.Args().Slice() {
		if err := auth.CheckName(auth.NormalName(name)); err != nil {
			return usage.Errorf("%q cannot be a name: %v", name, err)
		}
	}
	return nil
}

func argument(c *cli.Context, i int) string { return auth.NormalName(c.Args().Get(i)) }

func (n Needs) addUser(c *cli.Context) error { return n.putUser(c, false) }

func (n Needs) setPassword(c *cli.Context) error { return n.putUser(c, true) }

// withLinks calls do with the share links that belong to the users: with nil where there are none.
func (n Needs) withLinks(c *cli.Context, do func(*links.Book) error) error {
	file, shelf, closed := c.Path("users"), links.Shelf(nil), func() error { return nil }
	if at := c.String("store"); at != "" {
		var err error
		if shelf, closed, err = n.Shelf(c.Context, at); err != nil {
			return err
		}
	} else if _, err := os.Stat(links.File(file)); err != nil {
		return do(nil)
	}
	return errors.Join(do(links.NewBook(func() string { return file }, shelf, time.Now)), closed())
}

// putUser sets the line of a user who must be there, or must not be there. That is looked at before a password is
// asked for, and again when the file is locked.
func (n Needs) putUser(c *cli.Context, there bool) error {
	file, name := c.Path("users"), argument(c, 0)
	check := func(lines []string) error {
		switch has := auth.HasUser(lines, name); {
		case has && !there:
			return fmt.Errorf("%s has a user %q already: set the password anew with ifmatch user passwd", file, name)
		case !has && there:
			return auth.NotIn(file, name)
		}
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil && (there || !errors.Is(err, os.ErrNotExist)) {
		return auth.Missing(file, err)
	}
	if err := check(strings.Split(string(text), "\n")); err != nil {
		return err
	}
	hash := auth.NoPassword
	if !c.Bool("no-password") {
		password, err := ReadPassword(c.Context, c.App.ErrWriter, name)
		if err != nil {
			return err
		}
		if hash, err = auth.NewHash(password); err != nil {
			return err
		}
	}
	err = n.withLinks(c, func(book *links.Book) error {
		if there {
			return carry(c.Context, book, file, name, hash)
		}
		return endAll(c.Context, book, file, name)
	})
	if err != nil {
		return err
	}
	return auth.EditUsers(file, func(lines []string) ([]string, error) {
		return auth.SetUser(lines, name, hash), check(lines)
	})
}

// carry keeps the app tokens and the share links of a user who is to get a new password.
func carry(ctx context.Context, book *links.Book, file, name, hash string) error {
	users, _, err := readUsers(file)
	if err != nil {
		return err
	}
	if book != nil {
		if err := book.Carry(ctx, users, name, hash); err != nil {
			return err
		}
	}
	return editTokens(file, func(ts *auth.Tokens) error { ts.Carry(users, name, hash); return nil })
}

// editTokens edits the app tokens, if there are any.
func editTokens(file string, fn func(*auth.Tokens) error) error {
	if _, err := os.Stat(auth.TokensFile(file)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return auth.EditTokens(file, fn)
}

// endAll removes the app tokens and the share links of a user who is not there any more, or not yet.
func endAll(ctx context.Context, book *links.Book, file, name string) error {
	if book != nil {
		if _, err := book.Revoke(ctx, name, ""); err != nil {
			return err
		}
	}
	return editTokens(file, func(ts *auth.Tokens) error { ts.Revoke(name, ""); return nil })
}

func (n Needs) removeUser(c *cli.Context) error {
	file, name := c.Path("users"), argument(c, 0)
	if _, err := os.Stat(file); err != nil {
		return auth.Missing(file, err)
	}
	err := auth.EditUsers(file, func(lines []string) ([]string, error) {
		lines, found := auth.RemoveUser(lines, name)
		if !found {
			return nil, auth.NotIn(file, name)
		}
		return lines, nil
	})
	if err != nil {
		return err
	}
	return n.withLinks(c, func(book *links.Book) error { return endAll(c.Context, book, file, name) })
}

// readUsers reads a users file, and the tokens file that belongs to it.
func readUsers(file string) (*auth.Users, *auth.Tokens, error) {
	users, err := auth.ReadUsers(file)
	if err != nil {
		return nil, nil, err
	}
	text, err := os.ReadFile(auth.TokensFile(file))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	tokens, err := auth.ParseTokens(string(text))
	if err != nil {
		return nil, nil, fmt.Errorf("%s cannot be used: %w", auth.TokensFile(file), err)
	}
	return users, tokens, nil
}

func listUsers(c *cli.Context) error {
	users, tokens, err := readUsers(c.Path("users"))
	if err != nil {
		return err
	}
	of := map[string]int{}
	for _, t := range tokens.All() {
		of[t.User]++
	}
	out := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, name := range users.Names() {
		fmt.Fprintf(out, "%s\t%s\t%d\n", name, users.Kind(name), of[name])
	}
	return out.Flush()
}

func addToken(c *cli.Context) error {
	file, user := c.Path("users"), argument(c, 0)
	users, _, err := readUsers(file)
	if err != nil {
		return err
	}
	if !users.Has(user) {
		return auth.NotIn(file, user)
	}
	lasts := c.Duration("expires")
	if lasts <= 0 {
		return usage.Errorf("--expires %v lies in the past: give a duration such as 90d", lasts)
	}
	var effects []string
	if text := c.String("effects"); text != "" {
		effects = strings.Split(text, ",")
	}
	now := time.Now()
	secret, token, err := auth.NewToken(user, argument(c, 1), now, now.Add(lasts), effects)
	if err != nil {
		return usage.Errorf("%v", err)
	}
	token.Account = users.Account(user)
	if err := auth.EditTokens(file, func(ts *auth.Tokens) error { return ts.Add(token) }); err != nil {
		return err
	}
	const told = "This is the password for user name %q on one device until %s. It is not shown again.\n"
	fmt.Fprintf(c.App.ErrWriter, told, user, token.Expires.Format(time.RFC3339))
	fmt.Fprintln(c.App.Writer, secret)
	return nil
}

func listTokens(c *cli.Context) error {
	_, tokens, err := readUsers(c.Path("users"))
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, t := range tokens.All() {
		if user := argument(c, 0); user != "" && t.User != user {
			continue
		}
		effects := "all"
		if t.Effects != nil {
			effects = strings.Join(t.Effects, ",")
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", t.User, t.Name, t.Created.Format(time.RFC3339),
			t.Expires.Format(time.RFC3339), effects)
	}
	return out.Flush()
}

func revokeToken(c *cli.Context) error {
	file, user, name := c.Path("users"), argument(c, 0), argument(c, 1)
	revoked := 0
	err := editTokens(file, func(ts *auth.Tokens) error {
		revoked = ts.Revoke(user, name)
		return nil
	})
	if err == nil && revoked == 0 {
		err = fmt.Errorf("%q has no token %q: ifmatch user token list --users %s has them", user, name, file)
	}
	return err
}

// ReadPassword asks for a password twice on a terminal, without showing it. Without one it is the first line of the
// standard input.
func ReadPassword(ctx context.Context, prompt io.Writer, name string) (string, error) {
	stdin := int(os.Stdin.Fd())
	if !term.IsTerminal(stdin) {
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, 64<<10)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", err
		}
		return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
	}
	shown, err := term.GetState(stdin)
	if err != nil {
		return "", err
	}
	ask := func(question string) (string, error) {
		fmt.Fprint(prompt, question)
		defer fmt.Fprintln(prompt)
		type answer struct {
			text []byte
			err  error
		}
		got := make(chan answer, 1)
		go func() {
			text, err := term.ReadPassword(stdin)
			got <- answer{text, err}
		}()
		select {
		case <-ctx.Done():
			return "", errors.Join(context.Cause(ctx), term.Restore(stdin, shown))
		case a := <-got:
			return string(a.text), a.err
		}
	}
	first, err := ask(fmt.Sprintf("Password for %s: ", name))
	if err != nil {
		return "", err
	}
	again, err := ask("The same again: ")
	if err == nil && first != again {
		err = errors.New("these are two passwords; nothing has changed")
	}
	return first, err
}
