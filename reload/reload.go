// Package reload takes over users, rules, limits and certificates that have changed, and opens the audit log anew.
package reload

import (
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/certificate"
	"r-seed-1f3a754f.example/ifmatch/internal/systemd"
)

// renewPause is the time between two looks at the files of users, rules and the certificate.
const renewPause = time.Second

// A Reload takes over changed users, rules, limits and certificates. Files that have changed at the same time, and all
// files at SIGHUP, are taken over together, or none of them is.
type Reload struct {
	Authority   *auth.Authority
	Certificate *certificate.Certificate // nil: plain HTTP
	CertFile    string
	Table       *Table // nil: no configuration file
	Log         *slog.Logger

	// Read, and not taken over yet, because another file cannot be used. The next change takes them over too.
	rules *auth.Change
	pair  *certificate.Renewal
	table *change
	// torn: the configuration file was replaced while it was read for rules and for limits, so all files are read again.
	torn bool
}

// Look reads changed files, or all of them if forced, and takes over their settings.
func (r *Reload) Look(forced bool) {
	var rules *auth.Change
	var pair *certificate.Renewal
	var badRules, badPair error
	forced, r.torn = forced || r.torn, false
	before := r.Table.read()
	if !forced || r.Authority.Now().HasFiles() {
		rules, badRules = r.Authority.Look(forced)
	}
	if r.Certificate != nil {
		pair, badPair = r.Certificate.Look(forced)
	}
	table, badTable := r.Table.look(forced || rules != nil)
	isNew := rules != nil || pair != nil || table != nil
	if rules != nil {
		r.rules = rules
	}
	if pair != nil {
		r.pair = pair
	}
	if table != nil {
		r.table = table
	}
	if r.tell(badRules, badPair, badTable); badRules != nil || badPair != nil || badTable != nil || !isNew {
		return
	}
	if r.torn = r.Table.read() != before; !r.torn {
		r.take()
	}
}

// tell logs which files cannot be used, and which ones wait for them.
func (r *Reload) tell(badRules, badPair, badTable error) {
	if badRules != nil {
		r.Log.Error("the changed users and rules cannot be used, so the previous ones stay in force", "error", badRules)
	}
	if badPair != nil {
		r.Log.Error("cannot read the renewed certificate, so the previous one stays in use: check both files",
			"cert", r.CertFile, "error", badPair)
	}
	if badTable != nil {
		r.Log.Error("the changed limits cannot be used, so the previous ones stay in force", "error", badTable)
	}
	if badRules != nil && r.pair != nil {
		r.Log.Error("the renewed certificate waits until the users and rules can be used", "cert", r.CertFile)
	}
	if badPair != nil && r.rules != nil {
		r.Log.Error("the changed users and rules wait until the certificate can be used")
	}
	if (badRules != nil || badPair != nil) && r.table != nil || badTable != nil && (r.rules != nil || r.pair != nil) {
		r.Log.Error("users, rules, limits and the certificate are taken over together, when all of them can be used")
	}
}

// take takes over all that was read.
func (r *Reload) take() {
	if r.pair != nil {
		r.pair.Take()
		r.Log.Info("the certificate was read again", "cert", r.CertFile, "expires", r.pair.Expires())
	}
	if r.rules != nil {
		r.rules.Take()
		r.Log.Info("users and rules were read again", "users", r.Authority.Now().CountUsers())
		for _, doubt := range r.Authority.Now().Doubts() {
			r.Log.Warn(doubt)
		}
	}
	if r.table != nil {
		r.table.take()
		if keys := r.table.waiting; len(keys) > 0 {
			r.Log.Warn("changed settings count from the next start on", "file", r.Table.File, "keys", strings.Join(keys, ", "))
		}
	}
	r.rules, r.pair, r.table = nil, nil, nil
}

// Keep looks at the files every second and at SIGHUP, when the audit log is opened anew too, until stop is
// called. SIGHUP also comes when a terminal closes. It never stops the server.
func (r *Reload) Keep(audit *AuditFile) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	ticker := time.NewTicker(renewPause)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				r.Look(false)
			case <-signals:
				r.hangUp(audit)
			}
		}
	}()
	return func() { signal.Stop(signals); ticker.Stop(); close(done); <-ended }
}

func (r *Reload) hangUp(audit *AuditFile) {
	// With Type=notify-reload systemd waits for the second message, and needs the time of the first (sd_notify(3)).
	systemd.Tell(r.Log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
	defer systemd.Tell(r.Log, daemon.SdNotifyReady)
	if r.Certificate == nil && audit == nil && r.Table == nil && !r.Authority.Now().HasFiles() {
		r.Log.Info("SIGHUP: no file to read again (--tls-cert, --users, --config, --audit-log), and the server goes on; " +
			"SIGTERM stops it")
		return
	}
	switch err := audit.reopen(); {
	case err != nil:
		r.Log.Error("the audit log cannot be opened anew, so the old file is written on", "error", err)
	case audit != nil:
		r.Log.Info("the audit log was opened anew", "file", audit.name)
	}
	r.Look(true)
}
