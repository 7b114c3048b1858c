// Package reload takes over users, rules and certificates that have changed, and opens the audit log anew.
package reload

import (
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"

	"ifmatch/auth"
	"ifmatch/internal/certificate"
	"ifmatch/internal/systemd"
	"ifmatch/settings"
)

// renewPause is the time between two looks at the files of users, rules and the certificate.
const renewPause = time.Second

// A Reload takes over changed users, rules and certificates. Files that have changed at the same time, and all files at
// SIGHUP, are taken over together, or none of them is.
type Reload struct {
	Authority   *auth.Authority
	Certificate *certificate.Certificate // nil: plain HTTP
	CertFile    string
	Settings    *settings.File // as they are in force; nil: not known
	Flags       []cli.Flag     // that these can have
	Log         *slog.Logger

	// Read, and not taken over yet, because another file cannot be used. The next change takes them over too.
	rules *auth.Change
	pair  *certificate.Renewal
}

// look reads changed files, or all of them if forced, and takes over what they say.
func (r *Reload) look(forced bool) {
	var rules *auth.Change
	var pair *certificate.Renewal
	var badRules, badPair error
	if !forced || r.Authority.Now().HasFiles() {
		rules, badRules = r.Authority.Look(forced)
	}
	if r.Certificate != nil {
		pair, badPair = r.Certificate.Look(forced)
	}
	isNew := rules != nil || pair != nil
	if rules != nil {
		r.rules = rules
	}
	if pair != nil {
		r.pair = pair
	}
	if badRules != nil {
		r.Log.Error("the changed users and rules cannot be used, so the previous ones stay in force", "error", badRules)
	}
	if badPair != nil {
		r.Log.Error("cannot read the renewed certificate, so the previous one stays in use: check both files",
			"cert", r.CertFile, "error", badPair)
	}
	switch {
	case badRules != nil && r.pair != nil:
		r.Log.Error("the renewed certificate waits until the users and rules can be used", "cert", r.CertFile)
	case badPair != nil && r.rules != nil:
		r.Log.Error("the changed users and rules wait until the certificate can be used")
	case badRules == nil && badPair == nil && isNew:
		r.take()
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
	r.rules, r.pair = nil, nil
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
				r.look(false)
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
	r.compareSettings()
	if r.Certificate == nil && audit == nil && !r.Authority.Now().HasFiles() {
		r.Log.Info("SIGHUP: no file to read again (--tls-cert, --users, rules in --config, --audit-log), and the server goes on; " +
			"SIGTERM stops it")
		return
	}
	switch err := audit.reopen(); {
	case err != nil:
		r.Log.Error("the audit log cannot be opened anew, so the old file is written on", "error", err)
	case audit != nil:
		r.Log.Info("the audit log was opened anew", "file", audit.name)
	}
	r.look(true)
}

// compareSettings warns of a changed table [serve], which counts at the next start only.
func (r *Reload) compareSettings() {
	if r.Settings == nil || r.Settings.Name == "" {
		return
	}
	switch now, err := settings.Read(r.Settings.Name, r.Flags); {
	case err != nil:
		r.Log.Error("the next start will fail, because the configuration file cannot be used", "error", err)
	case now.Dir != r.Settings.Dir || !maps.EqualFunc(now.Flags, r.Settings.Flags, slices.Equal):
		r.Log.Warn("the table ["+settings.Table+"] of the configuration file has changed: restart the server to put that into force",
			"file", r.Settings.Name)
	}
}
