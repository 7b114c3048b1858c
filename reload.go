package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ifmatch/auth"
	"ifmatch/internal/certificate"
	"ifmatch/internal/systemd"
)

// renewPause is the time between two looks at the files of users, rules and the certificate.
const renewPause = time.Second

// A renewal takes over changed users, rules, limits and certificates. Files that have changed at the same time, and all
// files at SIGHUP, are taken over together, or none of them is.
type renewal struct {
	authority   *auth.Authority
	certificate *certificate.Certificate // nil: plain HTTP
	certFile    string
	settings    *settings // nil: no configuration file
	live        *liveLimits
	log         *slog.Logger

	// Read, and not taken over yet, because another file cannot be used. The next change takes them over too.
	rules *auth.Change
	pair  *certificate.Renewal
	table *newSettings
	// torn: the configuration file was replaced while it was read for rules and for limits, so all files are read again.
	torn bool
}

// look reads changed files, or all of them if forced, and takes over what they say.
func (r *renewal) look(forced bool) {
	var rules *auth.Change
	var pair *certificate.Renewal
	var badRules, badPair error
	forced, r.torn = forced || r.torn, false
	before := r.settings.read()
	if !forced || r.authority.Now().HasFiles() {
		rules, badRules = r.authority.Look(forced)
	}
	if r.certificate != nil {
		pair, badPair = r.certificate.Look(forced)
	}
	table, badTable := r.settings.look(forced || rules != nil)
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
	if r.torn = r.settings.read() != before; !r.torn {
		r.take()
	}
}

// tell logs which files cannot be used, and which ones wait for them.
func (r *renewal) tell(badRules, badPair, badTable error) {
	if badRules != nil {
		r.log.Error("the changed users and rules cannot be used, so the previous ones stay in force", "error", badRules)
	}
	if badPair != nil {
		r.log.Error("cannot read the renewed certificate, so the previous one stays in use: check both files",
			"cert", r.certFile, "error", badPair)
	}
	if badTable != nil {
		r.log.Error("the changed limits cannot be used, so the previous ones stay in force", "error", badTable)
	}
	if badRules != nil && r.pair != nil {
		r.log.Error("the renewed certificate waits until the users and rules can be used", "cert", r.certFile)
	}
	if badPair != nil && r.rules != nil {
		r.log.Error("the changed users and rules wait until the certificate can be used")
	}
	if (badRules != nil || badPair != nil) && r.table != nil || badTable != nil && (r.rules != nil || r.pair != nil) {
		r.log.Error("users, rules, limits and the certificate are taken over together, when all of them can be used")
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
	if r.table != nil {
		r.live.take(r.table.limits)
		if keys := r.settings.differ(r.table.settings); len(keys) > 0 {
			r.log.Warn("changed settings count from the next start on", "file", r.settings.started.file,
				"keys", strings.Join(keys, ", "))
		}
	}
	r.rules, r.pair, r.table = nil, nil, nil
}

// settings is the table of a configuration file, which is read again when the file changes.
type settings struct {
	started *fileSettings // the table as the server has started with it
	fixed   map[string]string
	now     string // the text that was read last
	seen    string // the text at the last look
}

// newSettings are settings that were read again.
type newSettings struct {
	settings *fileSettings
	limits   Limits
}

func newSettingsOf(cfg Config) *settings {
	if cfg.settings == nil || cfg.settings.file == "" {
		return nil
	}
	s := &settings{started: cfg.settings, fixed: cfg.fixedLimits}
	s.now = cfg.settings.text
	return s
}

// read returns the text of the file, or the reason why there is none.
func (s *settings) read() string {
	if s == nil {
		return ""
	}
	text, err := readBounded(s.started.file)
	if err != nil {
		return unread + err.Error()
	}
	return text
}

// unread begins the text in place of a file that cannot be read.
const unread = "\x00"

// look reads the table if the file has changed, and two looks have found it alike, or in any case if forced. It returns
// nil if there is nothing new. A file that cannot be used is an error, once for each change.
func (s *settings) look(forced bool) (*newSettings, error) {
	if s == nil {
		return nil, nil
	}
	text := s.read()
	settled := text == s.seen
	s.seen = text
	if !forced && (text == s.now || !settled) {
		return nil, nil
	}
	s.now = text
	if reason, bad := strings.CutPrefix(text, unread); bad {
		return nil, errors.New(reason)
	}
	table, err := parseSettings(s.started.file, text)
	if err != nil {
		return nil, err
	}
	if err := table.checkShares(); err != nil {
		return nil, err
	}
	limits, err := limitsOf(s.fixed, table)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be used: %w", s.started.file, err)
	}
	return &newSettings{table, limits}, nil
}

// differ returns the keys of the table, but for limits, that differ from those with which the server has started.
func (s *settings) differ(now *fileSettings) (keys []string) {
	isLimit := map[string]bool{}
	for _, f := range limitFlags() {
		isLimit[f.Names()[0]] = true
	}
	for _, f := range serveFlags() {
		name := f.Names()[0]
		was, is := s.started.flags[name], now.flags[name]
		if !isLimit[name] && !(slices.Equal(was, is) && (was == nil) == (is == nil)) {
			keys = append(keys, name)
		}
	}
	if s.started.dir != now.dir {
		keys = append(keys, dirKey)
	}
	if !slices.Equal(s.started.shares, now.shares) {
		keys = append(keys, shareTable)
	}
	if s.started.alone && !now.alone {
		keys = append(keys, "users", "groups", "rule") // nothing looks for them in a file that had none of them
	}
	return keys
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
	if r.certificate == nil && audit == nil && r.settings == nil && !r.authority.Now().HasFiles() {
		r.log.Info("SIGHUP: no file to read again (--tls-cert, --users, --config, --audit-log), and the server goes on; " +
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
