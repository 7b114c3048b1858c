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
