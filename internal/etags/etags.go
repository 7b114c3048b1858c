// Package etags is the command ifmatch etag. It prints the tags of files.
package etags

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/database"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Command returns the command.
func Command(misused cli.OnUsageErrorFunc) *cli.Command {
	return &cli.Command{
		Name:      "etag",
		Usage:     "print the entity tag that a server gives to FILE",
		ArgsUsage: "FILE...",
		Flags:     database.Choice(),
		Description: "Compare and swap from a shell:\n" +
			`curl -T new -H "If-Match: $(ifmatch etag old)" http://127.0.0.1:8080/file`,
		OnUsageError: misused,
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return usage.Errorf("no file is named: ifmatch etag FILE")
			}
			place, err := database.Of(c)
			if err != nil {
				return err
			}
			if place.Store == "" {
				return printTags(c.App.Writer, c.Args().Slice(), tagOfFile)
			}
			store, err := place.Tree(c.Context)
			if err != nil {
				return err
			}
			defer store.Close()
			return printTags(c.App.Writer, c.Args().Slice(), func(path string) (tree.ETag, error) {
				return tagOfName(c.Context, store, path)
			})
		},
	}
}

// printTags prints the tag of each file on a line. The tags of several files are followed by their names, as in
// sha256sum.
func printTags(w io.Writer, files []string, tagOf func(string) (tree.ETag, error)) error {
	var errs []error
	for _, name := range files {
		tag, err := tagOf(name)
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(files) == 1:
			fmt.Fprintln(w, tag)
		default:
			fmt.Fprintf(w, "%s  %s\n", tag, name)
		}
	}
	return errors.Join(errs...)
}

// tagOfName returns the tag of a file in a store. The path is below the served directory.
func tagOfName(ctx context.Context, store tree.Store, path string) (tree.ETag, error) {
	s, err := store.Stat(ctx, strings.Trim(path, "/"), tree.ReadOptions{Want: tree.WantTag})
	switch {
	case errors.Is(err, tree.ErrNotExist):
		return "", fmt.Errorf("%s is not in the tree", path)
	case err == nil && s.Collection:
		return "", fmt.Errorf("%s is a directory, and only files have a tag: name the files in it", path)
	}
	return s.Tag, err
}

func tagOfFile(name string) (tree.ETag, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return "", fmt.Errorf("%s is a directory, and only files have a tag: name the files in it", name)
	}
	return Of(f)
}

// Of reads r to its end and returns the tag of the content.
func Of(r io.Reader) (tree.ETag, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, r); err != nil {
		return "", err
	}
	return tree.TagOf([sha256.Size]byte(hash.Sum(nil))), nil
}
