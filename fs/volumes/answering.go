package volumes

import (
	"slices"
	"sync"
	"time"
)

// answerPatience is how long a file system may take to tell its size. If it takes longer, background work leaves the
// file system alone until the next time.
const answerPatience = 2 * time.Second

// questions are the questions to mounted file systems that are not answered yet, by the name of a directory. A question
// may stay open for as long as a disk does not answer. A tree does not ask the question again until then, so there is
// one for each directory.
type questions struct {
	mu   sync.Mutex
	open map[string]chan struct{} // closed with the answer
	last func() error             // is done when the last one is answered (nil: nothing is)
}

// atLast does something when no question is open: at once, or beside the last answer, which may never come. Its error is
// lost then.
func (q *questions) atLast(do func() error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.open) > 0 {
		q.last = do
		return nil
	}
	return do()
}

// Answer returns the directories whose file systems answer. It waits for all of them at once.
func (s *Tree) Answer(dirs []string) map[string]bool {
	if len(dirs) == 0 {
		return nil
	}
	asked := make([]chan struct{}, len(dirs))
	for i, dir := range dirs {
		asked[i] = s.ask(dir)
	}
	patience := NewPatience(answerPatience)
	defer patience.Stop()
	answers := map[string]bool{}
	for i, dir := range dirs {
		if patience.Await(asked[i]) {
			answers[dir] = true
		}
	}
	return answers
}

// ask asks the file system of a directory for its size. A file system on another machine does not answer this question
// from memory.
func (s *Tree) ask(dir string) (answered chan struct{}) {
	q := &s.questions
	q.mu.Lock()
	defer q.mu.Unlock()
	if answered, ok := q.open[dir]; ok {
		return answered
	}
	answered = make(chan struct{})
	q.open[dir] = answered
	go func() {
		_, _ = s.calls.Space(dir) // the size does not matter, only that there is an answer
		q.mu.Lock()
		defer q.mu.Unlock()
		if delete(q.open, dir); len(q.open) == 0 && q.last != nil {
			_ = q.last() // see atLast
		}
		close(answered)
	}()
	return answered
}

// Answering returns the volumes that answer, the volume of the root first. It is for background work, which sees to the
// other volumes when they answer.
func (s *Tree) Answering() []*Volume {
	all := s.Volumes()
	answers := s.Answer(topsOf(all[1:]))
	return slices.DeleteFunc(all, func(v *Volume) bool { return v != s.root && !answers[v.Top] })
}

func topsOf(volumes []*Volume) []string {
	return Each(volumes, func(v *Volume) string { return v.Top })
}

// pause is the step in which a Patience counts.
const pause = 100 * time.Millisecond

// A Patience is how long others are waited for that may hang. It is counted in pauses: where this process was stopped
// meanwhile, as on a machine that stalls, that is one pause, however long it was. Others have had no more time than that.
type Patience struct {
	tick *time.Ticker
	left int
}

// NewPatience returns a Patience of a time. Call Stop when it is not needed any more.
func NewPatience(lasts time.Duration) *Patience {
	return &Patience{time.NewTicker(pause), int(lasts / pause)}
}

// Stop gives up the ticker.
func (p *Patience) Stop() { p.tick.Stop() }

// Await waits until done is closed, and reports whether it is. All waits together last as long as the Patience.
func (p *Patience) Await(done <-chan struct{}) bool {
	for {
		select {
		case <-done:
			return true
		default:
		}
		if p.left <= 0 {
			return false
		}
		select {
		case <-done:
		case <-p.tick.C:
			p.left--
		}
	}
}
