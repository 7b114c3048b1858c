//go:build unix

package fs

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestHistoryStaysOpenOnlyWhereItIs: the directory of an hour stays open from one commit to the next. Where another process
// has dropped it meanwhile, or all of the history, the next version goes to a new directory of that hour, and not into
// the one that is still open.
func TestHistoryStaysOpenOnlyWhereItIs(t *testing.T) {
	for name, drop := range map[string]func(state string) error{
		"nothing is dropped": func(string) error { return nil },
		"the hour is moved to the trash": func(state string) error {
			hours, err := filepath.Glob(filepath.Join(state, "history", "*"))
			if err != nil || len(hours) != 1 {
				t.Fatal(hours, err)
			}
			return os.Rename(hours[0], filepath.Join(state, "trash", "old"))
		},
		"the hour is removed": func(state string) error {
			hours, err := filepath.Glob(filepath.Join(state, "history", "*"))
			if err != nil || len(hours) != 1 {
				t.Fatal(hours, err)
			}
			return os.RemoveAll(hours[0])
		},
		"the history is removed": func(state string) error { return os.RemoveAll(filepath.Join(state, "history")) },
		"the history is moved": func(state string) error {
			return os.Rename(filepath.Join(state, "history"), filepath.Join(state, "elsewhere"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "f=1")
			c := newTestClock()
			s := openTest(t, dir, Options{History: true, Now: c.Now, Linger: time.Hour})
			replace := func(content string) {
				c.now = c.now.Add(time.Second)
				replaceBy(t, s, "f", content)
			}
			replace("2")
			replace("3") // the directory is still open
			keeps(t, s, "f", "1", "2")
			if err := os.MkdirAll(filepath.Join(dir, ".ifmatch", "trash"), 0o700); err != nil {
				t.Fatal(err)
			}
			want := []string{"1", "2"}
			if name != "nothing is dropped" {
				want = nil
			}
			if err := drop(filepath.Join(dir, ".ifmatch")); err != nil {
				t.Fatal(err)
			}
			replace("4")
			replace("5")
			keeps(t, s, "f", append(want, "3", "4")...)
		})
	}
}
