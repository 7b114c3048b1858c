// Package command is the command ifmatch link: it makes share links, lists them and revokes them.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/helptext"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/spelling"
)

// Needs are the things that the command takes from the program.
type Needs struct {
	Misused cli.OnUsageErrorFunc
	Users   cli.Flag                                                 // names the users file
	Days    func(flags []cli.Flag) []cli.Flag                        // makes flags take days
	Ask     func(context.Context, io.Writer, string) (string, error) // asks for a password
	// Shelf opens the links of several servers in a database.
	Shelf func(ctx context.Context, address string) (shelf links.Shelf, closed func() error, err error)
}

// New returns the command.
func New(n Needs) *cli.Command {
	sub := func(name, args, usage, description string, flags []cli.Flag, do func(*cli.Context, *links.Book) error) *cli.Command {
		return &cli.Command{
			Name: name, ArgsUsage: args, Usage: usage, Description: description, OnUsageError: n.Misused,
			Flags: append([]cli.Flag{n.Users, &cli.StringFlag{Name: "store",
				Usage: "the links are in the database at an `ADDRESS`, as that of ifmatch serve, and not beside the users file"}},
				flags...),
			Action: func(c *cli.Context) error {
				err := check(c, args)
				if err != nil {
					return err
				}
				users, shelf, closed := c.Path("users"), links.Shelf(nil), func() error { return nil }
				if at := c.String("store"); at != "" {
					if shelf, closed, err = n.Shelf(c.Context, at); err != nil {
						return err
					}
				}
				book := links.NewBook(func() string { return users }, shelf, time.Now)
				return errors.Join(do(c, book), closed())
			},
		}
	}
	return helptext.Group(n.Misused, "link", "make, list and revoke share links",
		"Who has the URL of a link reads a file or a folder without a login, or drops new files into a folder. A link "+
			"has a part of the rights of its maker, a user, and ends with them. Links are kept in FILE.links beside the users "+
			"file, or in the database of several servers (--store). A server takes a change over with the next request.",
		sub("create", "NAME PATH", "make a link, and print its URL once",
			"NAME is the user whose rights the link has, and PATH a name in what is served, such as /docs/report.pdf. "+
				"The link is about what has that name at the time of a request.",
			n.Days([]cli.Flag{
				&cli.StringFlag{Name: "access", Value: string(links.Read),
					Usage: "`WHAT` the link is for: read, or drop (create files in a folder, and see nothing of it)"},
				&cli.DurationFlag{Name: "expires", Value: links.DefaultExpiry, Usage: "for how long a `TIME`, such as 90d, the link is good"},
				&cli.StringFlag{Name: "label", Usage: "a `TEXT` by which you know the link again, and which those see who have it"},
				&cli.BoolFlag{Name: "password", Usage: "ask for a password on the terminal, or take the first line of the standard " +
					"input, which those who have the link must know"},
				&cli.StringFlag{Name: "url", Usage: "`URL` of what is served, with its --prefix, to print the whole URL of the link"},
			}), n.create),
		sub("list", "[NAME]", "list the links, of all users or of one",
			"A line has the id, the user, what the link is for, its path, when it expires, whether it has a password, and its "+
				"label.", nil, list),
		sub("revoke", "ID", "end a link", "", nil, revoke))
}

// check compares the arguments with their names in a usage text.
func check(c *cli.Context, args string) error {
	most := len(strings.Fields(args))
	switch n := c.NArg(); {
	case c.Path("users") == "":
		return usage.Errorf("name the users file: %s --users FILE %s", c.Command.HelpName, args)
	case n < most-strings.Count(args, "["):
		return usage.Errorf("write %s --users FILE %s", c.Command.HelpName, args)
	case n > most:
		return usage.Errorf("%s takes no argument %q", c.Command.HelpName, c.Args().Get(most))
	}
	return nil
}

func (n Needs) create(c *cli.Context, book *links.Book) error {
	users, now := c.Path("users"), time.Now()
	maker := auth.NormalName(c.Args().Get(0))
	account, err := accountOf(users, maker)
	if err != nil {
		return err
	}
	access, err := links.ParseAccess(c.String("access"))
	if err != nil {
		return usage.Errorf("--access: %v", err)
	}
	name := strings.TrimPrefix(path.Clean("/"+c.Args().Get(1)), "/")
	if spelling.HasReserved(name) {
		return usage.Errorf("/%s is reserved for the state of the server: name another file or folder", name)
	}
	base, err := baseOf(c.String("url"))
	if err != nil {
		return err
	}
	wish := links.Wish{Maker: maker, Account: account, Name: name, Access: access,
		Label: c.String("label"), Expires: now.Add(c.Duration("expires"))}
	if c.Bool("password") {
		if wish.Password, err = n.Ask(c.Context, c.App.ErrWriter, "the link"); err != nil {
			return err
		}
		if wish.Password == "" {
			return usage.Errorf("the password is empty: leave out --password for none")
		}
	}
	link, token, err := links.New(wish, now)
	if err != nil {
		return usage.Errorf("%v", err)
	}
	if err := book.Add(c.Context, link); err != nil {
		return err
	}
	const told = "Link %s of %q, until %s. The URL is not shown again.\n"
	fmt.Fprintf(c.App.ErrWriter, told, link.ID, maker, link.Expires.Format(time.RFC3339))
	if base == "" {
		fmt.Fprintln(c.App.ErrWriter, "Put the URL of what is served before it:")
	}
	fmt.Fprintln(c.App.Writer, base+"/.ifmatch/link/"+token)
	return nil
}

// baseOf returns a URL without a slash at its end.
func baseOf(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", usage.Errorf("--url %q is no URL such as https://files.example/dav", text)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// accountOf returns the account of a user, and fails if the user is not in the users file.
func accountOf(file, maker string) (string, error) {
	users, err := auth.ReadUsers(file)
	if err != nil {
		return "", err
	}
	if !users.Has(maker) {
		return "", auth.NotIn(file, maker)
	}
	return users.Account(maker), nil
}

func list(c *cli.Context, book *links.Book) error {
	all, err := book.List()
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, l := range all.Of(auth.NormalName(c.Args().Get(0))) {
		password, expires := "-", l.Expires.Format(time.RFC3339)
		if l.Hash != "" {
			password = "password"
		}
		if !time.Now().Before(l.Expires) {
			expires = "expired"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.Maker, l.Access, l.Path, expires, password, l.Label)
	}
	return out.Flush()
}

func revoke(c *cli.Context, book *links.Book) error {
	id, none := c.Args().Get(0), fmt.Errorf("there is no link %q: ifmatch link list has them", c.Args().Get(0))
	if c.String("store") == "" {
		if _, err := os.Stat(links.File(c.Path("users"))); errors.Is(err, os.ErrNotExist) {
			return none
		}
	}
	gone, err := book.Revoke(c.Context, "", id)
	if err == nil && len(gone) == 0 {
		err = none
	}
	return err
}
