package treetest

import "testing"

// KnownFault is for a test of what is wrong today, and is to be mended: right returns nil where it is not wrong any more. Until
// then the test passes and says so; once it is mended, it fails, so that it becomes a test of what must stay.
func KnownFault(t *testing.T, until string, right func() error) {
	t.Helper()
	if err := right(); err != nil {
		t.Logf("as expected until %s: %v", until, err)
		return
	}
	t.Errorf("this was expected to fail until %s, and it is mended: turn it into an ordinary test", until)
}
