package etagfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A drained client gets references to what the kernel sends: it reads the bytes from the file when it reads at all,
// which is when the server waits for that. Bytes that are copied stay what they are.
type drained struct {
	file    string
	pending []piece
	queued  int64 // the length of what is pending
	got     bytes.Buffer

	stops    bool // it reads nothing while it is waited for
	unknown  bool // it is not known what it has read
	byKernel int64
	waits    int
	onWait   func(w *drained)
}

// A piece is n bytes of the file, or a copy of them.
type piece struct {
	offset, n int64
	copied    []byte
}

func (w *drained) Write(p []byte) (int, error) {
	w.pending = append(w.pending, piece{n: int64(len(p)), copied: bytes.Clone(p)})
	w.queued += int64(len(p))
	return len(p), nil
}

func (w *drained) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(io.Discard, src)
	w.pending = append(w.pending, piece{offset: w.byKernel, n: n})
	w.queued += n
	w.byKernel += n
	return n, err
}

// read reads what is pending, until most bytes are left.
func (w *drained) read(most int64) error {
	f, err := os.Open(w.file)
	if err != nil {
		return err
	}
	defer f.Close()
	for w.queued > most {
		p := &w.pending[0]
		n := min(p.n, w.queued-most)
		if p.copied != nil {
			w.got.Write(p.copied[:n])
			p.copied = p.copied[n:]
		} else if _, err := io.Copy(&w.got, io.NewSectionReader(f, p.offset, n)); err != nil {
			return err
		}
		p.offset, p.n, w.queued = p.offset+n, p.n-n, w.queued-n
		if p.n == 0 {
			w.pending = w.pending[1:]
		}
	}
	return nil
}

// drains is a drained client that [etagfs] knows as one.
type drains struct{ *drained }

func (w drains) AwaitRead(most int64, _ time.Duration) (int64, bool) {
	w.waits++
	if w.onWait != nil {
		w.onWait(w.drained)
	}
	if w.unknown {
		return 0, false
	}
	if !w.stops && w.read(most) != nil {
		return 0, false
	}
	return w.queued, true
}

// TestKernelSendsNearlyAll: to a client of which it is known what it has read, the kernel sends all but a few bytes,
// and the last ones are sent when the client has read what the kernel has sent. What a program changes before that is
// seen.
func TestKernelSendsNearlyAll(t *testing.T) {
	const (
		size              = 8 << 20
		inFlight, relayed = 5 << 20, 128 << 10
		chunk, slack      = 64 << 10, 1 << 20
	)
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i >> 10)
	}
	// overwrite changes the byte before the last one that the kernel has sent, which the client has not read.
	overwrite := func(v *served, w *drained) {
		f, err := os.OpenFile(v.path("f"), os.O_WRONLY, 0)
		v.must(err)
		_, err = f.WriteAt([]byte("!"), w.byKernel-1)
		v.must(err, f.Close())
	}
	const most = size - relayed - slack - chunk
	for _, tt := range []struct {
		name     string
		onWait   func(v *served, w *drained, stop func())
		byKernel int64
		err      error
	}{
		{name: "it keeps pace", byKernel: most},
		{name: "it is not known", onWait: func(_ *served, w *drained, _ func()) { w.unknown = true },
			byKernel: size - inFlight - chunk},
		{name: "it does not keep pace", onWait: func(_ *served, w *drained, _ func()) { w.stops = true },
			byKernel: size - inFlight - chunk},
		{name: "a program writes before it has read all", onWait: func(v *served, w *drained, _ func()) {
			if w.byKernel == most {
				overwrite(v, w)
				w.onWait = nil
			}
		}, byKernel: most, err: tree.ErrChanged},
		{name: "it does not read before the last chunk, and is gone", onWait: func(_ *served, w *drained, stop func()) {
			if w.stops = w.byKernel == most; w.stops {
				stop()
			}
		}, byKernel: most, err: context.Canceled},
		{name: "it cannot be told any more, and then again", onWait: func(_ *served, w *drained, _ func()) {
			w.unknown = w.byKernel == most && !w.unknown
		}, byKernel: most},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &served{t: t, dir: t.TempDir(), clock: treetest.NewClock()}
			v.must(os.WriteFile(v.path("f"), content, 0o666))
			v.Store, _ = open(t, etagfs.Options{Now: v.clock.Now, InFlight: inFlight, Relayed: relayed}, v.below(), nil)
			v.clock.Advance(time.Minute)
			opened, state, err := v.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
			v.must(err)
			defer opened.Close()
			w := &drained{file: v.path("f")}
			reading, stop := context.WithCancel(ctx)
			defer stop()
			if tt.onWait != nil {
				w.onWait = func(w *drained) { tt.onWait(v, w, stop) }
			}
			_, err = opened.WriteRange(reading, drains{w}, 0, state.Size)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("error %v, not %v", err, tt.err)
			}
			v.must(w.read(0))
			if whole := w.got.Len() == size; whole != (tt.err == nil) || whole && !bytes.Equal(w.got.Bytes(), content) {
				t.Errorf("%d bytes of %d came, the first ones right: %t", w.got.Len(), size,
					bytes.HasPrefix(content, w.got.Bytes()))
			}
			if w.byKernel != tt.byKernel {
				t.Errorf("the kernel has sent %d bytes, not %d", w.byKernel, tt.byKernel)
			}
		})
	}
}
