// Package systemd tells the service manager of the state of this process (sd_notify(3)).
package systemd

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Tell tells the service manager of the state of this process (sd_notify(3)), if there is one.
func Tell(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd cannot be told of the state of the server", "state", state, "error", err)
	}
}

// FeedWatchdog tells the watchdog of systemd (WatchdogSec=) that this process is alive, until stop is called. It calls
// check before each time, which takes the locks that each request takes: where one of them is never let go of, the server is
// restarted. A disk that hangs is no reason to: a new process would hang, too.
func FeedWatchdog(check func(), log *slog.Logger) (stop func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog of systemd cannot be fed, and will restart the server: WATCHDOG_USEC is no number",
			"error", err)
	}
	if err != nil || interval <= 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(max(interval/3, time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			check()
			Tell(log, daemon.SdNotifyWatchdog)
		}
	}()
	return func() { close(done); <-ended }
}
