package shares

import (
	"strings"
	"sync"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The history shows a removed version, but not its properties. So a MOVE to another share notices each PROPPATCH of
// this server that ran between its last look at the source and the removal.

// patches are the calls of PatchProperties that are running, and the removals that watch for them.
type patches struct {
	mu      sync.Mutex
	running map[*patch]struct{}
	watches map[*patchWatch]struct{}
}

// A patch is a running call.
type patch struct{ place }

// A patchWatch notices the calls that run for a resource, or below it.
type patchWatch struct {
	of *patches
	place
	noticed bool
}

// concerns reports whether a patch is of the watched resource, or below it. Names are compared as a file system does
// that ignores case and the form of letters.
func (w *patchWatch) concerns(p *patch) bool {
	return p.share == w.share && tree.Within(folded(p.inner), folded(w.inner))
}

func folded(name string) string { return strings.ToLower(norm.NFKC.String(name)) }

// begin notes a call. The caller must call end when it has returned.
func (p *patches) begin(at place) (end func()) {
	one := &patch{at}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		p.running = map[*patch]struct{}{}
	}
	p.running[one] = struct{}{}
	for w := range p.watches {
		w.noticed = w.noticed || w.concerns(one)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, one)
	}
}

// watch begins to watch a resource. The caller must call end.
func (p *patches) watch(at place) *patchWatch {
	w := &patchWatch{of: p, place: at}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watches == nil {
		p.watches = map[*patchWatch]struct{}{}
	}
	p.watches[w] = struct{}{}
	return w
}

func (w *patchWatch) end() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	delete(w.of.watches, w)
}

// again forgets the calls that have returned.
func (w *patchWatch) again() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.noticed = false
	for p := range w.of.running {
		w.noticed = w.noticed || w.concerns(p)
	}
}

// seen reports whether a call has run since again.
func (w *patchWatch) seen() bool {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	return w.noticed
}
