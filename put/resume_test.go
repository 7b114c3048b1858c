package put

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// interrupted serves a directory, and runs the command until it is interrupted in its third part. parts counts those of
// all runs, and created the uploads.
func interrupted(t *testing.T, dir, name string, flags ...string) (url string, parts, created *int) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	parts, created = new(int), new(int)
	url, _ = serveDir(t, dir, 40<<10, func(r *http.Request) {
		switch r.Method {
		case "POST":
			*created++
		case "PATCH":
			if *parts++; *parts == 3 {
				interrupt()
			}
		}
	})
	_, told, err := run(ctx, append(flags, name, url+"/f")...)
	if !errors.Is(err, context.Canceled) || !strings.Contains(told, "the same command goes on with it") {
		t.Fatalf("interrupted: %v\n%s", err, told)
	}
	return url, parts, created
}

func records(t *testing.T) []string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	all, _ := filepath.Glob(filepath.Join(dir, "ifmatch/put/*"))
	return all
}

// TestPutGoesOnInAnotherRun: the same command sends what the server has not got, and leaves nothing.
func TestPutGoesOnInAnotherRun(t *testing.T) {
	dir, content := t.TempDir(), strings.Repeat("0123456789abcdef", 20<<10) // 320 KiB
	name := file(t, content)
	url, parts, created := interrupted(t, dir, name, "--create")
	before := *parts
	out, told, err := run(t.Context(), "--create", name, url+"/f")
	if err != nil || out != tagOf(content) {
		t.Fatalf("the other run: %q, %v\n%s", out, err, told)
	}
	if *created != 1 || *parts-before > 8 {
		t.Errorf("%d uploads were created, and %d parts sent after %d", *created, *parts-before, before)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "f")); string(got) != content {
		t.Errorf("the file has %d bytes", len(got))
	}
	if left := records(t); left != nil {
		t.Errorf("it leaves %q", left)
	}
	if _, _, err := run(t.Context(), "--create", name, url+"/f"); !errors.As(err, new(*Refused)) {
		t.Errorf("once more: %v", err)
	}
}

// TestPutBeginsAnew where the file is another one now, or the server knows the upload no more.
func TestPutBeginsAnew(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, name string)
	}{
		{"another time", func(t *testing.T, name string) {
			if err := os.Chtimes(name, time.Time{}, time.Unix(1500000000, 0)); err != nil {
				t.Fatal(err)
			}
		}},
		{"the upload has ended", func(t *testing.T, _ string) {
			var left record
			data, err := os.ReadFile(records(t)[0])
			if err = errors.Join(err, json.Unmarshal(data, &left)); err != nil {
				t.Fatal(err)
			}
			r, err := http.NewRequestWithContext(t.Context(), "DELETE", left.Upload, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Tus-Resumable", "1.0.0")
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
		}},
		{"a record that is damaged", func(t *testing.T, _ string) {
			for _, record := range records(t) {
				if err := os.WriteFile(record, []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, content := t.TempDir(), strings.Repeat("0123456789abcdef", 20<<10)
			name := file(t, content)
			url, _, created := interrupted(t, dir, name)
			tt.change(t, name)
			out, told, err := run(t.Context(), name, url+"/f")
			if err != nil || out != tagOf(content) || *created != 2 {
				t.Errorf("%q, %v, %d uploads were created\n%s", out, err, *created, told)
			}
			if left := records(t); left != nil {
				t.Errorf("it leaves %q", left)
			}
		})
	}
}

// TestPutOfAFileThatChanges: nothing is replaced by a mixture of two versions.
func TestPutOfAFileThatChanges(t *testing.T) {
	dir := t.TempDir()
	name := file(t, strings.Repeat("x", 200<<10))
	parts := 0
	url, _ := serveDir(t, dir, 40<<10, func(r *http.Request) {
		if r.Method != "PATCH" {
			return
		}
		if parts++; parts == 3 {
			if err := os.WriteFile(name, []byte(strings.Repeat("y", 200<<10)), 0o666); err != nil {
				t.Error(err)
			}
			if err := os.Chtimes(name, time.Time{}, time.Unix(1500000000, 0)); err != nil {
				t.Error(err)
			}
		}
	})
	if _, _, err := run(t.Context(), name, url+"/f"); !errors.Is(err, errChanged) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "f")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("then there is a file: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".ifmatch/uploads/*")); left != nil || records(t) != nil {
		t.Errorf("it leaves %q and %q", left, records(t))
	}
}
