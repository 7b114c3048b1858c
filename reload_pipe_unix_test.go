//go:build unix

package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/certificate"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/reload"
)

// A pipe in the place of a file would keep the reload waiting forever, and with it the end of the server. It is an
// error, what was read before stays in force, and the repaired file is taken over.
func TestReloadWaitsForNoPipe(t *testing.T) {
	at, put := filesOfServer(t)
	put("users", "ann:*\n")
	put("config", "[serve]\nmax-uploads = 7\n")
	if err := servertest.WriteCertificate(at("cert"), at("key")); err != nil {
		t.Fatal(err)
	}
	authority, err := auth.Open(auth.Options{Users: at("users")})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := certificate.Load(at("cert"), at("key"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	cfg := startedWith(t, at("config"), logger)
	r := reload.Reload{
		Authority: authority, Certificate: pair, CertFile: at("cert"), Table: reloadedTable(cfg), Log: logger,
	}
	for _, name := range []string{"config", "users", "cert", "key"} {
		if err := os.Rename(at(name), at("aside")); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(at(name), 0o600); err != nil {
			t.Skip("NOT RUN: this disk has no pipes:", err)
		}
		for _, forced := range []bool{false, false, true} { // two looks must find a changed file alike
			log.Reset()
			r.Look(forced)
		}
		if got := log.String(); !strings.Contains(got, "not a regular file") || strings.Contains(got, "again") {
			t.Errorf("a pipe in the place of %s: it is told:\n%s", name, got)
		}
		if err := os.Rename(at("aside"), at(name)); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		r.Look(true)
		if got := log.String(); strings.Contains(got, "ERROR") || strings.Count(got, "read again") != 3 {
			t.Errorf("after %s is repaired: it is told:\n%s", name, got)
		}
	}
}
