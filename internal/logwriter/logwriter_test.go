package logwriter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const timeout = 2 * time.Second

func reportDropped(to io.Writer, lines int) { fmt.Fprintf(to, "%d dropped\n", lines) }

// A gatedWriter blocks each Write until the test lets it return.
type gatedWriter struct {
	mu   sync.Mutex
	got  bytes.Buffer
	pass chan error // the error that each Write returns
}

func (g *gatedWriter) Write(p []byte) (int, error) {
	if err := <-g.pass; err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.Write(p)
}

// Write does not wait for a reader. Lines that do not fit into the buffer are counted. The others arrive whole and in
// order.
func TestLinesBeyondTheBufferAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gatedWriter{pass: make(chan error)}
		w := New(out, reportDropped)
		line := strings.Repeat("x", 1023) + "\n"
		began := time.Now()
		for i := range 3000 {
			fmt.Fprintf(w, "%04d%s", i, line[4:])
			if i == 0 {
				synctest.Wait() // the first line is being written, and so the buffer takes the next 1,024
			}
		}
		w.Flush(timeout)
		if took := time.Since(began); took != timeout {
			t.Errorf("waited for %v", took)
		}
		synctest.Wait()
		close(out.pass)
		w.Flush(timeout)
		fmt.Fprintln(w, "and on")
		w.Flush(timeout)
		lines := strings.Split(strings.TrimSuffix(out.got.String(), "\n"), "\n")
		kept := 1 + bufferSize/len(line)
		if want := []string{fmt.Sprintf("%d dropped", 3000-kept), "and on"}; !slices.Equal(lines[min(kept, len(lines)):], want) {
			t.Fatalf("after %d lines there is %.100q and not %q", kept, lines[min(kept, len(lines)):], want)
		}
		for i, text := range lines[:kept] {
			if !strings.HasPrefix(text, fmt.Sprintf("%04d", i)) {
				t.Fatalf("line %d is %.10s", i, text)
			}
		}
	})
}

// Lines that could not be written are counted too, and reported with the next line that can be written.
func TestLinesThatFailAreCounted(t *testing.T) {
	out := &gatedWriter{pass: make(chan error, 10)}
	w := New(out, reportDropped)
	for _, err := range []error{errors.New("no room"), errors.New("no room"), nil} {
		out.pass <- err
		if err == nil {
			out.pass <- nil // for the line about those that were lost
		}
		io.WriteString(w, "a line\n")
		w.Flush(time.Minute)
	}
	if got := out.got.String(); got != "a line\n2 dropped\n" {
		t.Errorf("got %q", got)
	}
}

// A countingWriter keeps each Write.
type countingWriter struct {
	mu     sync.Mutex
	writes []string
}

func (c *countingWriter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = append(c.writes, string(p))
	return len(p), nil
}

func (c *countingWriter) all() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.writes)
}

// Lines that may come later are written together, within a second, and never behind a line that was written after them.
func TestLaterLinesAreWrittenTogether(t *testing.T) {
	long := strings.Repeat("x", laterSize/2) + "\n"
	for _, test := range []struct {
		name string
		do   func(w *Writer, later io.Writer)
		want []string
	}{
		{"not at once", func(_ *Writer, later io.Writer) {
			fmt.Fprintln(later, "one")
			time.Sleep(laterTime - time.Nanosecond)
		}, nil},
		{"within a second of the first", func(_ *Writer, later io.Writer) {
			fmt.Fprintln(later, "one")
			time.Sleep(laterTime - time.Nanosecond)
			fmt.Fprintln(later, "two")
			time.Sleep(time.Nanosecond)
		}, []string{"one\ntwo\n"}},
		{"again and again", func(_ *Writer, later io.Writer) {
			for range 2 {
				fmt.Fprintln(later, "one")
				time.Sleep(laterTime)
				synctest.Wait() // the timer ends at the same instant as the pause
			}
		}, []string{"one\n", "one\n"}},
		{"with a line that waits for nothing", func(w *Writer, later io.Writer) {
			fmt.Fprintln(later, "one")
			fmt.Fprintln(w, "two")
		}, []string{"one\ntwo\n"}},
		{"when there are many", func(_ *Writer, later io.Writer) {
			for range 2 {
				io.WriteString(later, long)
			}
		}, []string{long, long}}, // of which one write takes no more than 64 KiB
		{"at the end", func(w *Writer, later io.Writer) {
			fmt.Fprintln(later, "one")
			w.Flush(timeout)
		}, []string{"one\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &countingWriter{}
				w := New(out, reportDropped)
				test.do(w, w.Later())
				if got := out.all(); !slices.Equal(got, test.want) {
					t.Errorf("the writes are %.40q, not %.40q", got, test.want)
				}
				w.Flush(timeout)
			})
		})
	}
}

// Flush has nothing to wait for where nothing was written.
func TestFlushOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		New(&countingWriter{}, reportDropped).Flush(timeout)
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}
