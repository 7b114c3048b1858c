package volumes

import (
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// TestTreeIsOpenWhileAQuestionIs: a disk that does not answer for long may do so after the tree was closed, and is asked by
// the descriptor of the root until then.
func TestTreeIsOpenWhileAQuestionIs(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	calls, err := vfs.Open(t.TempDir(), func(c vfs.Call) error {
		if c.Op == "space" {
			close(asked)
			<-goOn
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := New(calls, Options{}, nil)
	s.root, s.RootLock = &Volume{}, s.newLock(0, lockName)
	answered := s.ask(".")
	<-asked
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := calls.Lstat("."); err != nil {
		t.Errorf("the tree was closed beside a question: %v", err)
	}
	close(goOn)
	<-answered
	if _, err := calls.Lstat("."); err == nil {
		t.Error("the tree is still open")
	}
}
