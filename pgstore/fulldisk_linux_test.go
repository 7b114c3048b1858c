package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestFullDisk: on a full disk of the database a write is refused as one for which there is no room, and changes nothing.
// Reads go on, and writes when there is room again.
func TestFullDisk(t *testing.T) {
	server := pgtest.Shared(t)
	place, err := os.MkdirTemp("", "fulldisk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(place) })
	if err := syscall.Mount("tmpfs", place, "tmpfs", 0, "size=24m,mode=0777"); err != nil {
		t.Skipf("NOT RUN: a file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(place, syscall.MNT_DETACH) })
	if err := server.Own(place); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	admin, err := pgx.Connect(ctx, server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"create tablespace small location '" + place + "'", "create database small tablespace small"} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, sql := range []string{"drop database small with (force)", "drop tablespace small"} {
			if _, err := admin.Exec(context.Background(), sql); err != nil {
				t.Error(err)
			}
		}
		admin.Close(context.Background())
	})
	// One connection, for which the next call waits: PostgreSQL takes no new one while it cannot write a file for it.
	s, err := pgstore.Open(ctx, server.DSN("small"), pgstore.Options{Inline: 1 << 20, NoHistory: true, MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := put(ctx, s, "first", "content", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 512<<10)
	var full error
	n := 0
	for ; full == nil && n < 100; n++ {
		full = put(ctx, s, fmt.Sprint("f", n), fmt.Sprint(n, large), tree.Condition{})
	}
	if !errors.Is(full, tree.ErrNoSpace) {
		t.Fatalf("after %d files: %v, want that there is no room", n, full)
	}
	before := treetest.Layout(t, s)
	refused := map[string]error{
		"PUT over":    put(ctx, s, "first", large, treetest.IfTag("first", treetest.TagOf("content"))),
		"PUT another": put(ctx, s, "another", large, tree.Condition{}),
	}
	for what, err := range refused {
		if !errors.Is(err, tree.ErrNoSpace) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := treetest.Layout(t, s); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("a refused write has changed the tree of %d lines to %d", len(before), len(after))
	}
	if err := syscall.Mount("tmpfs", place, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if err := put(ctx, s, "another", large, tree.Condition{}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
