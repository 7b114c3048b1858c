package main

import (
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ifmatch/auth"
	"ifmatch/internal/certificate"
	"ifmatch/internal/systemd"
	"ifmatch/settings"
)

// renewPause is the time between two looks at the files of users, rules and the certificate.
const renewPause = time.Second

// A renewal takes over changed users, rules and certificates. Files that have changed at the same time, and all files at
// SIGHUP, are taken over together, or none of them is.
type renewal struct {
	authority   *auth.Authority
	certificate *certificate.Certificate // nil: plain HTTP
	certFile    string
	settings    *settings.File // as they are in force; nil: not known
	log         *slog.Logger

	// Read, and not taken over yet, because another file cannot be used. The next change takes them over too.
	rules *auth.Change
	pair  *certificate.Renewal
}

// look reads changed files, or all of them if forced, and takes over what they say.
func (r *renewal) look(forced bool) {
	var rules *auth.Change
	var pair *certificate.Renewal
	var badRules, badPair error
	if !forced || r.authority.Now().HasFiles() {
		rules, badRules = r.authority.Look(forced)
	}
	if r.certificate != nil {
		pair, badPair = r.certificate.Look(forced)
	}
	isNew := rules != nil || pair != nil
	if rules != nil {
		r.rules = rules
	}
	if pair != nil {
		r.pair = pair
	}
	if badRules != nil {
		r.log.Error("the changed users and rules cannot be used, so the previous ones stay in force", "error", badRules)
	}
	if badPair != nil {
		r.log.Error("cannot read the renewed certificate, so the previous one stays in use: check both files",
			"cert", r.certFile, "error", badPair)
	}
	switch {
	case badRules != nil && r.pair != nil:
		r.log.Error("the renewed certificate waits until the users and rules can be used", "cert", r.certFile)
	case badPair != nil && r.rules != nil:
		r.log.Error("the changed users and rules wait until the certificate can be used")
	case badRules == nil && badPair == nil && isNew:
		r.take()
	}
}

// take takes over all that was read.
func (r *renewal) take() {
	if r.pair != nil {
		r.pair.Take()
		r.log.Info("the certificate was read again", "cert", r.certFile, "expires", r.pair.Expires())
	}
	if r.rules != nil {
		r.rules.Take()
		r.log.Info("users and rules were read again", "users", r.authority.Now().CountUsers())
		for _, doubt := range r.authority.Now().Doubts() {
			r.log.Warn(doubt)
		}
	}
	r.rules, r.pair = nil, nil
}

// keepRenewed looks at the files every second and at SIGHUP, when the audit log is opened anew too, until stop is
// called. SIGHUP also comes when a terminal closes. It never stops the server.
func (r *renewal) keepRenewed(audit *auditFile) (stop func()) {
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

func (r *renewal) hangUp(audit *auditFile) {
	// With Type=notify-reload systemd waits for the second message, and needs the time of the first (sd_notify(3)).
	systemd.Tell(r.log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
	defer systemd.Tell(r.log, daemon.SdNotifyReady)
	r.compareSettings()
	if r.certificate == nil && audit == nil && !r.authority.Now().HasFiles() {
		r.log.Info("SIGHUP: no file to read again (--tls-cert, --users, rules in --config, --audit-log), and the server goes on; " +
			"SIGTERM stops it")
		return
	}
	switch err := audit.reopen(); {
	case err != nil:
		r.log.Error("the audit log cannot be opened anew, so the old file is written on", "error", err)
	case audit != nil:
		r.log.Info("the audit log was opened anew", "file", audit.name)
	}
	r.look(true)
}

// compareSettings warns of a changed table [serve], which counts at the next start only.
func (r *renewal) compareSettings() {
	if r.settings == nil || r.settings.Name == "" {
		return
	}
	switch now, err := settings.Read(r.settings.Name, serveFlags()); {
	case err != nil:
		r.log.Error("the next start will fail, because the configuration file cannot be used", "error", err)
	case now.Dir != r.settings.Dir || !maps.EqualFunc(now.Flags, r.settings.Flags, slices.Equal):
		r.log.Warn("the table ["+settings.Table+"] of the configuration file has changed: restart the server to put that into force",
			"file", r.settings.Name)
	}
}
