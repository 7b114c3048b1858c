package auth

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// maxFile bounds the files that are read here, in bytes.
const maxFile = 16 << 20

// TokensFile returns the name of the tokens file that belongs to a users file.
func TokensFile(users string) string { return users + ".tokens" }

// EditUsers changes the users file with fn, which gets the lines of it and returns those to write. The file is
// replaced in one step, and keeps its mode and owner. A new file has mode 0600. While fn runs no other EditUsers or
// EditTokens of the same file does.
func EditUsers(file string, fn func(lines []string) ([]string, error)) error {
	return edit(file, 0, func(text string) (string, error) {
		lines, err := fn(strings.Split(strings.TrimSuffix(text, "\n"), "\n"))
		if err != nil {
			return "", err
		}
		text = strings.Join(lines, "\n")
		return strings.TrimPrefix(text+"\n", "\n"), nil
	})
}

// EditTokens changes the tokens file that belongs to a users file, as [EditFile] does.
func EditTokens(users string, fn func(*Tokens) error) error {
	return EditFile(users, TokensFile(users), func(text string) (string, error) {
		ts, err := ParseTokens(text)
		if err != nil {
			return "", fmt.Errorf("%s cannot be read: %w", TokensFile(users), err)
		}
		if err := fn(ts); err != nil {
			return "", err
		}
		return ts.String(), nil
	})
}

// EditFile changes another file beside the users file. It is 0600 afterwards, and a new one
// belongs to the owner of the users file, whoever makes it: the server must be able to read it.
func EditFile(users, file string, fn func(text string) (string, error)) error {
	if info, err := os.Stat(users); err == nil {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			owned := copyOwner(f, info)
			if errors.Is(owned, iofs.ErrPermission) {
				owned = nil // only root gives files away, and the file is of the server that makes it
			}
			err = errors.Join(owned, f.Close())
		}
		if err != nil && !errors.Is(err, iofs.ErrExist) {
			return err
		}
	}
	return edit(file, 0o600, fn)
}

// ReadFile reads a file that EditFile writes. The text is "" if there is none. It fails if the file is no regular one, or
// everybody on this machine can write it.
func ReadFile(file string) (text string, err error) {
	content, info, err := readFile(file)
	if errors.Is(err, iofs.ErrNotExist) {
		return "", nil
	}
	return textOf(file, content, info, err)
}

// SetUser is for [EditUsers]: it sets the line of a user, and keeps all others as they are.
func SetUser(lines []string, name, hash string) []string {
	if i := slices.IndexFunc(lines, isLineOf(name)); i >= 0 {
		lines[i] = name + ":" + hash
		return lines
	}
	return append(lines, name+":"+hash)
}

// RemoveUser is for [EditUsers]: it takes the line of a user out.
func RemoveUser(lines []string, name string) (rest []string, found bool) {
	rest = slices.DeleteFunc(slices.Clone(lines), isLineOf(name))
	return rest, len(rest) < len(lines)
}

// HasUser is for [EditUsers].
func HasUser(lines []string, name string) bool { return slices.ContainsFunc(lines, isLineOf(name)) }

func isLineOf(name string) func(line string) bool {
	return func(line string) bool { return strings.HasPrefix(line, name+":") }
}

// edit replaces a file. mode 0 keeps that of the file.
func edit(file string, mode os.FileMode, fn func(text string) (string, error)) error {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target // the link stays
	}
	f, err := lockFile(file)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := readAll(f)
	if err != nil {
		return err
	}
	changed, err := fn(text)
	if err != nil || changed == text {
		return err
	}
	return replace(file, f, mode, changed)
}

// lockWait is how long an edit waits for another one.
const lockWait = 30 * time.Second

// ErrEdited says that another program has a file locked.
var ErrEdited = errors.New("is being edited by another program")

// lockFile opens a file that is the one of its name while it is locked, and makes an empty one where there is none.
func lockFile(file string) (*os.File, error) {
	for deadline := time.Now().Add(lockWait); ; {
		f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		locked, err := tryLock(f)
		if err == nil && locked {
			var here, there os.FileInfo
			if here, err = f.Stat(); err == nil {
				there, err = os.Stat(file)
			}
			if err == nil && os.SameFile(here, there) {
				return f, nil
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s %w", file, ErrEdited)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func readAll(f *os.File) (string, error) {
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", f.Name(), maxFile)
	}
	return string(content), err
}

// replace writes a file beside another one and gives it that one's name, mode and owner.
func replace(file string, old *os.File, mode os.FileMode, text string) (err error) {
	info, err := old.Stat()
	if err != nil {
		return err
	}
	if mode == 0 {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.WriteString(text)
	err = errors.Join(err, copyOwner(f, info))
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		old.Close() // nothing replaces a file that is open there
	}
	if err = os.Rename(f.Name(), file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}
