package history

import (
	"errors"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/usage"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A restore does not replace a file that changes before the commit, and the version stays in the history.
func TestRestoreIsGuarded(t *testing.T) {
	dir, err := fs.Open(t.TempDir(), fs.Options{History: true})
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(dir, etagfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx := t.Context()
	put := func(content string) {
		t.Helper()
		if _, _, err := store.Put(ctx, "f", strings.NewReader(content), tree.PutOptions{Length: -1}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	put("two")
	see := func() (tree.Version, tree.Condition) {
		t.Helper()
		version, err := (&arguments{name: "f"}).find(ctx, store)
		if err != nil {
			t.Fatal(err)
		}
		unchanged, err := unchangedSince(ctx, store, "f")
		if err != nil {
			t.Fatal(err)
		}
		return version, unchanged
	}
	for _, test := range []struct {
		name   string
		change func()
	}{
		{"other content", func() { put("three") }},
		{"it is removed", func() {
			if err := store.Remove(ctx, "f", tree.Condition{}); err != nil {
				t.Error(err)
			}
		}},
		{"it was restored", func() { put("four") }},
	} {
		version, unchanged := see()
		test.change()
		before, stat := store.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
		if _, _, err := store.Restore(ctx, version.ID, "f", tree.RestoreOptions{}, unchanged); !errors.Is(err, errChanged) {
			t.Errorf("%s: got error %v", test.name, err)
		}
		after, again := store.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
		if before.Tag != after.Tag || (stat == nil) != (again == nil) {
			t.Errorf("%s: it was %+v, and is %+v", test.name, before, after)
		}
	}
	version, unchanged := see()
	if _, _, err := store.Restore(ctx, version.ID, "f", tree.RestoreOptions{}, unchanged); err != nil {
		t.Errorf("nothing has changed: %v", err)
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 20, 30, 0, time.FixedZone("", 3600))
	for in, want := range map[string]time.Time{
		"90m":                  now.Add(-90 * time.Minute),
		"0s":                   now,
		"2026-11-25T09:20:30Z": now,
		"2026-11-25 10:20":     now.Add(-30 * time.Second),
		"2026-11-25":           time.Date(2026, 11, 25, 0, 0, 0, 0, now.Location()),
	} {
		if got, err := parseTime("since", in, now); err != nil || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{" ", "noon", "-1h", "25.11.2026", "2026-13-01"} {
		got, err := parseTime("since", in, now)
		if usage := new(usage.Error); !errors.As(err, &usage) {
			t.Errorf("parseTime(%q) = %v, %v; want a usage error", in, got, err)
		}
	}
}
