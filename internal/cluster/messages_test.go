package cluster

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
)

// TestImportSaysWhatIsWrong, and counts one file as one.
func TestImportSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one/d/f", "other/f", "served/.ifmatch/x"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	place := []string{"--store", pgtest.Run(t).DSN("postgres"), "--blobs", "dir://" + filepath.Join(dir, "blobs")}
	needs := Needs{
		State:   ".ifmatch",
		Open:    func(string) (Source, error) { return nil, errors.New("it is of a later release") },
		Differs: func(err error) error { return err },
	}
	if err := os.Symlink("f", filepath.Join(dir, "one/d/link")); err != nil { // so that the import does not end
		t.Fatal(err)
	}
	for _, test := range []struct{ args, want string }{
		{"", "name one directory"},
		{"none", "does not exist: name the directory to import"},
		{"one --jobs 0", "give a number from 1 to 64"},
		{"served", "cannot be read: it is of a later release"},
		{"one", "of another directory has begun, and has not ended: "},
		{"other --into", "1 file (7 B) and 0 directories were imported, 0 files were there already"},
		{"one --into", "1 file (7 B) and 1 directory were imported, 0 files were there already\n" +
			"compared: 1 file has the same ETag, 0 differ; 1 was left out, 0 lost something"},
		{"other --into", "0 files (0 B) and 0 directories were imported, 1 file was there already"},
	} {
		var out bytes.Buffer
		args := []string{"ifmatch", "import"}
		if name, flags, _ := strings.Cut(test.args, " "); name != "" {
			args = append(append(append(args, place...), strings.Fields(flags)...), filepath.Join(dir, name))
		} else {
			args = append(args, place...)
		}
		app := &cli.App{Commands: []*cli.Command{Import(needs)}, Writer: &out, ErrWriter: &out, ExitErrHandler: func(*cli.Context, error) {}}
		err := app.RunContext(t.Context(), args)
		if err != nil {
			out.WriteString(err.Error())
		}
		if !strings.Contains(out.String(), test.want) {
			t.Errorf("import %s says\n%s\nwant %q", test.args, &out, test.want)
		}
	}
}
