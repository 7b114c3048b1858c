package volumes

import (
	"testing"
	"testing/synctest"
	"time"

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

// TestPatienceCountsPauses: a pause in which this process was stopped is one, however long it was.
func TestPatienceCountsPauses(t *testing.T) {
	for _, tt := range []struct {
		about  string
		pauses int
		ends   bool // what is waited for ends before another pause
		want   bool
	}{
		{"it ends at once", 0, true, true},
		{"it ends in the last pause", 2, true, true},
		{"it does not end", 3, false, false},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ticks, done, got := make(chan time.Time), make(chan struct{}), make(chan bool, 1)
				p := &Patience{&time.Ticker{C: ticks}, 3}
				go func() { got <- p.Await(done) }()
				for range tt.pauses {
					time.Sleep(time.Hour) // a stall
					ticks <- time.Now()
				}
				synctest.Wait()
				if tt.ends {
					if len(got) > 0 {
						t.Fatal("it was given up")
					}
					close(done)
				}
				if ended := <-got; ended != tt.want {
					t.Errorf("it has ended: %v, want %v", ended, tt.want)
				}
			})
		})
	}
}
