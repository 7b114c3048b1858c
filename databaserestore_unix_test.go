//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestRestoreOverADatabaseIsKilled: a restore as of a time that is killed between its steps is finished by another one.
func TestRestoreOverADatabaseIsKilled(t *testing.T) {
	const files = 40
	dsn := pgtest.Run(t).Database(t, nil)
	store, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	names := func() (names []string) {
		t.Helper()
		for s, err := range store.List(t.Context(), "", tree.ListOptions{Depth: -1, Want: tree.WantTag}, tree.Condition{}) {
			must(err)
			names = append(names, fmt.Sprint(s.Name, " ", s.Tag))
		}
		return names
	}
	_, err = store.Mkdir(t.Context(), "d", tree.MkdirOptions{}, tree.Condition{})
	must(err)
	for i := range files {
		name := fmt.Sprint("d/", i)
		_, _, err := store.Put(t.Context(), name, strings.NewReader(name), tree.PutOptions{Length: -1}, tree.Condition{})
		must(err)
	}
	at, want := time.Now().UTC().Format(time.RFC3339Nano), names()
	for i := range files {
		must(store.Remove(t.Context(), fmt.Sprint("d/", i), tree.Condition{}))
	}
	must(store.Remove(t.Context(), "d", tree.Condition{}))

	command := func() *exec.Cmd {
		return exec.Command("ifmatch", "history", "restore", "/d", "--at", at, "--store", dsn)
	}
	first := command()
	must(first.Start())
	ended := inBackground(func() { first.Wait() })
	for alive := true; alive && len(names()) < 5; {
		select {
		case <-ended:
			alive = false
		default:
		}
	}
	first.Process.Kill() // it may have ended
	<-ended
	if out, err := command().CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := names(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the tree is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
