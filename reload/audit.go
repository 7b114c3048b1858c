package reload

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// An AuditFile is a file of JSON lines, one for each change. It is opened anew at SIGHUP, so that it can be rotated.
type AuditFile struct {
	name string
	log  *slog.Logger // where failures go

	mu sync.Mutex
	f  *os.File
}

// OpenAudit opens the file for appending. It is nil where there is none.
func OpenAudit(name string, log *slog.Logger) (*AuditFile, error) {
	if name == "" {
		return nil, nil
	}
	a := &AuditFile{name: name, log: log}
	if err := a.reopen(); err != nil {
		return nil, fmt.Errorf("--audit-log cannot be written: %w", err)
	}
	return a, nil
}

// CheckAudit refuses a file that cannot be appended to. It makes none.
func CheckAudit(name string) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		err = f.Close()
	} else if errors.Is(err, iofs.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("--audit-log cannot be written: %w", err)
	}
	return nil
}

// reopen goes on in the file that has the name now.
func (a *AuditFile) reopen() error {
	if a == nil {
		return nil
	}
	if info, err := os.Stat(a.name); err == nil && info.Mode()&os.ModeNamedPipe != 0 && a.f != nil {
		if now, err := a.f.Stat(); err == nil && os.SameFile(now, info) {
			return nil // it is not rotated
		}
		return errors.New("it is a pipe, and opening that could wait forever")
	}
	f, err := os.OpenFile(a.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f != nil {
		a.f.Close()
	}
	a.f = f
	return nil
}

// Write implements io.Writer. A change that was made already cannot be refused: that its line cannot be written is an
// ERROR in the log.
func (a *AuditFile) Write(line []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, err := a.f.Write(line)
	if err != nil {
		a.log.Error("a line of the audit log could not be written", "file", a.name, "error", err, "line", string(line))
	}
	return n, err
}

// Logger returns the logger that writes the lines, or nil where there is no file.
func (a *AuditFile) Logger() *slog.Logger {
	if a == nil {
		return nil
	}
	return slog.New(slog.NewJSONHandler(a, nil))
}
