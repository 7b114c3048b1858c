package pgstore_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func late(cond tree.Condition) tree.Condition {
	cond.Late = func() bool { return true }
	return cond
}

// TestShortBodiesBeforeTheirCondition: a Try may be left to the Put of a short body. That fails with the error of the
// condition before any other, and says no more than a Try would.
func TestShortBodiesBeforeTheirCondition(t *testing.T) {
	r := newFaultRig(t, 0)
	r.lay()
	s, _, _ := openThrough(t)
	ctx := context.Background()
	_, err := s.Mkdir(ctx, "dir", tree.MkdirOptions{}, tree.Condition{})
	r.must(err)
	refuse := func(name string) tree.Condition {
		return late(tree.Condition{Names: []string{name}, Check: func(tree.View) error { return errRefused }})
	}
	broken := errors.New("the client is gone")
	send := func(name string, body io.Reader, cond tree.Condition) error {
		_, _, err := s.Put(ctx, name, body, tree.PutOptions{Length: 5}, cond)
		return err
	}
	if err := s.Try(ctx, refuse("f")); err != nil {
		t.Errorf("Try: %v, though it is left to the Put", err)
	}
	for _, name := range []string{"f", "dir", "dir/none/f"} {
		if err := send(name, strings.NewReader("short"), refuse(name)); err != errRefused {
			t.Errorf("Put of %q: %v", name, err)
		}
		if err := send(name, iotest.ErrReader(broken), refuse(name)); err != errRefused {
			t.Errorf("Put of %q with a body that breaks: %v", name, err)
		}
	}
	anything := late(tree.Condition{Names: []string{"f"}, Check: func(tree.View) error { return nil }})
	for name, want := range map[string]error{"dir": tree.ErrIsCollection, "dir/none/f": tree.ErrNoParent} {
		if err := send(name, strings.NewReader("short"), anything); !errors.Is(err, want) {
			t.Errorf("Put of %q with a condition that is true: %v, want %v", name, err, want)
		}
	}
	if err := send("f", iotest.ErrReader(broken), anything); !errors.Is(err, broken) {
		t.Errorf("Put of a body that breaks: %v", err)
	}
	// Where another client writes the name, or a short body is an object, Try is asked.
	body, client := io.Pipe()
	done := make(chan error)
	go func() { done <- send("f", body, anything) }()
	_, err = client.Write([]byte("sho"))
	r.must(err)
	if err := s.Try(ctx, refuse("f")); err != errRefused {
		t.Errorf("Try beside another Put: %v", err)
	}
	_, err = client.Write([]byte("rt"))
	r.must(errors.Join(err, client.Close(), <-done))
	if err := r.direct.Try(ctx, refuse("f")); err != errRefused {
		t.Errorf("Try of a store that keeps nothing in the database: %v", err)
	}
}
