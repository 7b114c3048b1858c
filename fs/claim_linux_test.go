package fs

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A process that has claimed the lock learns from the lock alone whether another one has claimed it since.
func TestClaimOfTheLock(t *testing.T) {
	dir := t.TempDir()
	first, second := openTest(t, dir, Options{}), openTest(t, dir, Options{})
	lockFile := filepath.Join(dir, lockName)
	// locked runs a step under the lock, and reports whether the claim was held when the lock was taken.
	locked := func(s *FS, step func() error) (held bool) {
		t.Helper()
		unlock, err := s.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		held = s.IsClaimed()
		if err := step(); err != nil {
			t.Fatal(err)
		}
		return held
	}
	nothing := func() error { return nil }
	for _, tt := range []struct {
		what  string
		by    *FS
		step  func() error
		claim bool // held when the lock was taken
	}{
		{"nobody has claimed it", first, first.Claim, false},
		{"the first has", first, nothing, true},
		{"it claims it again", first, first.Claim, true},
		{"the second has only locked it", second, nothing, false},
		{"the first still has its claim", first, nothing, true},
		{"the second claims it", second, second.Claim, false},
		{"the first has lost its claim", first, nothing, false},
		{"the second has it", second, nothing, true},
		{"a move is noted", second, func() error { return os.WriteFile(lockFile, []byte("moving/none"), 0o600) }, true},
		{"that ends the claim", second, second.Claim, false},
		{"it is claimed anew", second, nothing, true},
		{"the lock file is touched", second, func() error { return os.Chtimes(lockFile, time.Time{}, time.Now()) },
			true},
		{"that ends the claim too", second, second.Claim, false},
		{"a copy takes its place, with its time", second, func() error {
			info, err := os.Stat(lockFile)
			if err == nil {
				err = os.WriteFile(lockFile+".new", nil, 0o600)
			}
			if err == nil {
				err = os.Chtimes(lockFile+".new", time.Time{}, info.ModTime())
			}
			if err == nil {
				err = os.Rename(lockFile+".new", lockFile)
			}
			return err
		}, true},
		{"a copy has no claim", second, nothing, false},
		{"the first claims the copy", first, first.Claim, false},
		{"the first has it", first, nothing, true},
	} {
		if held := locked(tt.by, tt.step); held != tt.claim {
			t.Errorf("%s: the claim is held: %v", tt.what, held)
		}
	}
}
