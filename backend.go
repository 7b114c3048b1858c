package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/etagfs/reopening"
	"r-seed-1f3a754f.example/ifmatch/fs"
	fshistory "r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/internal/cluster"
	"r-seed-1f3a754f.example/ifmatch/internal/history"
	"r-seed-1f3a754f.example/ifmatch/internal/locks"
	"r-seed-1f3a754f.example/ifmatch/internal/runas"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/monitor"
	"r-seed-1f3a754f.example/ifmatch/shares"
	"r-seed-1f3a754f.example/ifmatch/watcher/hints"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// This file is the only one of the program that names packages etagfs and fs. The others use its declarations.

// A backend is an opened directory: the store over it, and the file system that holds the history.
type backend struct {
	*etagfs.Store
	dir *fs.FS // closed by the store
}

// The types of the store that flags and commands name.
type (
	durability   = fs.Durability
	retention    = fshistory.Retention
	capabilities = volumes.Abilities
	indexStatus  = etagfs.Survey
	hashResult   = etagfs.Reading
	uploadLimits = etagfs.UploadLimits
)

const (
	durabilityNone = fs.None
)

// alike reports whether a disk may take two names for one.
var alike = volumes.Alike

// openBackend opens the directory of a server, or the one in memory.
func openBackend(cfg Config, log *slog.Logger) (*backend, error) {
	dir, err := openDir(cfg, log)
	if err != nil {
		return nil, err
	}
	index, err := indexDir(cfg, dir)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	var hashes *limit.Pool
	if cfg.Pools != nil {
		hashes = cfg.Pools.Hashes
	}
	if cfg.StateDir != "" {
		if err := rememberPlace(cfg, dir); err != nil {
			log.Warn("the state directory cannot tell at the next start which directory was served: " + err.Error())
		}
	}
	onTheWay, relayed := wire.Buffered()
	return newBackend(dir, etagfs.Options{
		IndexDir:    index,
		History:     &cfg.History,
		Journal:     true,
		Uploads:     cfg.unfinished,
		WarmUp:      cfg.WarmUp,
		Rescan:      cfg.Rescan,
		Hashes:      hashes,
		NoSendfile:  cfg.NoSendfile,
		CacheMemory: cfg.CacheMemory,
		InFlight:    onTheWay,
		Relayed:     relayed,
		Held:        cfg.Monitor.Held(),
		Progress:    func(p etagfs.Progress) { logProgress(log, p) },
		Report:      func(err error) { log.Warn("the store reports: " + err.Error()) },
	})
}

func newBackend(dir *fs.FS, opts etagfs.Options) (*backend, error) {
	store, err := etagfs.New(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("cannot open the store: %w", err)
	}
	return &backend{store, dir}, nil
}

// lingering is how long the journal and the notes of the history stay open for the next commit. While writes come as
// fast as that, files in staging are open most of the time too, and the disk cannot be remounted read-only either way.
const lingering = 10 * time.Millisecond

func openDir(cfg Config, log *slog.Logger) (*fs.FS, error) {
	if err := checkExpected(cfg); err != nil {
		return nil, err
	}
	opts := fs.Options{
		ReadOnly: cfg.ReadOnly, Durability: cfg.Durability, History: cfg.History.Keep > 0,
		FileMode: cfg.FileMode, DirMode: cfg.DirMode, Linger: lingering,
		Met: func(name string, able volumes.Abilities) {
			log.Info("a file system is mounted below and written to", "path", name, "disk", able)
		},
	}
	if cfg.Memory {
		return fs.OpenAfero(afero.NewMemMapFs(), opts)
	}
	dir, err := fs.Open(cfg.Dir, opts)
	if err != nil {
		return nil, dirError(cfg, err)
	}
	return dir, nil
}

// dirError says why a directory cannot be served, and how to mend that.
func dirError(cfg Config, err error) error {
	switch stranger := new(volumes.StrangerError); {
	case errors.As(err, &stranger):
		err = stranger
	case !isReadable(cfg.Dir):
		return fmt.Errorf("this user may not read %s (%w): start the server as a user who may, "+
			"or change its permissions", cfg.Dir, err)
	case !cfg.ReadOnly && isUnwritable(err):
		return fmt.Errorf("%s cannot be written (%w): use --read-only to serve it as it is", cfg.Dir, err)
	}
	return fmt.Errorf("cannot serve %s: %w", cfg.Dir, err)
}

// checkServed refuses a directory, a state in it, or a --state-dir that a server would refuse. It changes nothing.
func checkServed(cfg Config) error {
	if cfg.hasNoDir() {
		return nil
	}
	if _, err := statDir(cfg.Dir); err != nil {
		return err
	}
	if err := checkExpected(cfg); err != nil {
		return err
	}
	dir, err := fs.Open(cfg.Dir, fs.Options{ReadOnly: true})
	if err != nil {
		return dirError(cfg, err)
	}
	defer dir.Close()
	if _, err := indexDir(cfg, dir); err != nil {
		return err
	}
	state := filepath.Join(cfg.Dir, stateName)
	if _, err := os.Lstat(state); cfg.ReadOnly || errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	served, err := dir.Stat("")
	if err == nil {
		_, err = volumes.CheckDir(state, volumes.Heir(served))
	}
	if err != nil {
		return dirError(cfg, err)
	}
	return nil
}

func isUnwritable(err error) bool {
	return errors.Is(err, iofs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// logProgress logs the progress of the search for files whose tags are not known. A search that finds nothing to hash
// is logged for debugging only.
func logProgress(log *slog.Logger, p etagfs.Progress) {
	attrs := []any{"files", p.Files, "bytes", p.Bytes, "hashed", p.Hashed, "hashed_bytes", p.HashedBytes,
		"took", p.Took.Round(time.Millisecond)}
	if p.Unreadable > 0 {
		attrs = append(attrs, "unreadable", p.Unreadable)
	}
	switch {
	case !p.Done:
		log.Info("computing ETags ahead of requests", attrs...)
	case p.Hashed > 0:
		log.Info("the ETags of all files are known", attrs...)
	default:
		log.Debug("the ETags of all files are known", attrs...)
	}
}

// openServed opens a directory that was served before, and may be served now.
func openServed(dir string, readOnly bool) (*backend, error) {
	if _, err := os.Stat(filepath.Join(dir, stateName)); errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("%s has not been served yet: name the directory that was given to ifmatch serve", dir)
	} else if err != nil {
		return nil, err
	}
	if err := runas.Owner(dir, stateName, ""); err != nil {
		return nil, err
	}
	below, err := fs.Open(dir, fs.Options{ReadOnly: readOnly})
	if err != nil {
		return nil, err
	}
	return newBackend(below, etagfs.Options{})
}

// openLocks opens a directory to look at its locks, or to end them.
func openLocks(dir string, readOnly bool) (locks.Store, error) { return openServed(dir, readOnly) }

// openSource opens a directory to copy its content, and changes nothing in it.
func openSource(dir string) (cluster.Source, error) { return openHistory(dir) }

// openHistory opens a directory to read its history, and changes nothing in it.
func openHistory(dir string) (history.Store, error) {
	return openIn(dir, fs.Options{ReadOnly: true}, etagfs.Options{})
}

// openRestore opens a directory to restore versions of its history.
func openRestore(dir string, report func(error)) (history.Store, error) {
	return openIn(dir, fs.Options{History: true}, etagfs.Options{Report: report, Journal: true})
}

func openIn(dir string, below fs.Options, opts etagfs.Options) (*backend, error) {
	opened, err := fs.Open(dir, below)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	return newBackend(opened, opts)
}

// servedRoot returns the directory whose history holds the versions of dir, which may be on a file system mounted in
// it.
func servedRoot(dir string) string { return volumes.PartOf(dir) }

// A served is the store of a server: over a directory that may go away and come back, in memory, or over a
// database.
type served = monitor.Store

// openServing opens the store of a server. It also returns the abilities of the directory.
func openServing(cfg Config, log *slog.Logger) (served, capabilities, error) {
	if len(cfg.Shares) > 0 {
		return openShares(cfg, log)
	}
	if cfg.Database != "" {
		store, err := openDatabase(cfg, log)
		return store, capabilities{}, err
	}
	open := func() (*etagfs.Store, error) {
		b, err := openBackend(cfg, log)
		if err != nil {
			return nil, err
		}
		return b.Store, nil
	}
	if cfg.Memory {
		b, err := openBackend(cfg, log)
		if err != nil {
			return nil, capabilities{}, err
		}
		return memoryStore{b.Store}, b.dir.Abilities(), nil
	}
	if _, err := statDir(cfg.Dir); err != nil {
		return nil, capabilities{}, err
	}
	store, err := reopening.Open(reopening.Options{
		Dir: cfg.Dir, State: stateName, Log: log, Open: open,
		Start: func(s *etagfs.Store) (stop func()) {
			if !cfg.Watch {
				return func() {}
			}
			return hints.Watch(cfg.Dir, s, hints.Options{
				Skip: stateName, Counts: cfg.Monitor.Counts(), Watched: cfg.Monitor.Watched(),
			}, log)
		},
	})
	if err != nil {
		return nil, capabilities{}, err
	}
	return store, store.Current().Abilities(), nil
}

// openShares opens the stores of all shares. The abilities are those of a directory without file locks, if there is
// one.
func openShares(cfg Config, log *slog.Logger) (served, capabilities, error) {
	var all []shares.Share
	var stores []figured
	var least capabilities
	for i, one := range cfg.directories() {
		path := cfg.Shares[i].Path
		store, able, err := openServing(one, log.With("share", "/"+path))
		if err != nil {
			for _, opened := range stores {
				err = errors.Join(err, opened.Close())
			}
			return nil, capabilities{}, fmt.Errorf("the share /%s: %w", path, err)
		}
		if i == 0 || !able.Flock {
			least = able
		}
		log.Info("a share is served", "path", "/"+path, "dir", one.Dir, "disk", able)
		all = append(all, shares.Share{Path: path, Store: store, NoHistory: cfg.History.Keep <= 0})
		stores = append(stores, store.(figured))
	}
	store, err := shares.New(all, shares.Options{Report: func(err error) { log.Warn(err.Error()) }})
	if err != nil {
		return nil, capabilities{}, err
	}
	return &sharedStore{store, stores}, least, nil
}

// A sharedStore is the store of several shares.
type sharedStore struct {
	*shares.Store
	stores []figured
}

// Figures returns the sums over the shares. A number that a share does not know is not known of all.
func (s *sharedStore) Figures() (sum etagfs.Figures) {
	for _, one := range s.stores {
		f := one.Figures()
		for of, n := range map[*int]int{&sum.Hashing: f.Hashing, &sum.Queued: f.Queued, &sum.Locks: f.Locks} {
			if *of += n; n < 0 {
				*of = math.MinInt32
			}
		}
	}
	return sum
}

// A memoryStore has no directory to watch.
type memoryStore struct{ *etagfs.Store }

func (memoryStore) Start() {}

// A figured store tells how much is going on in it.
type figured interface {
	served
	Figures() etagfs.Figures
}

// figures has the figures of a store told by m, which may be nil.
func figures(m *monitor.Monitor, store figured) {
	gauge := func(name, help string, read func(etagfs.Figures) int64) {
		var last atomic.Int64 // where the store is asked while it cannot say
		m.Counts().Gauge(name, help, nil, func() float64 {
			if n := read(store.Figures()); n >= 0 {
				last.Store(n)
			}
			return float64(last.Load())
		})
	}
	gauge("ifmatch_hashing", "Files that are hashed for requests which wait.",
		func(f etagfs.Figures) int64 { return int64(f.Hashing) })
	gauge("ifmatch_hash_queue", "Files to be hashed ahead of requests.",
		func(f etagfs.Figures) int64 { return int64(f.Queued) })
	gauge("ifmatch_locks", "WebDAV locks.", func(f etagfs.Figures) int64 { return int64(f.Locks) })
	gauge("ifmatch_history_bytes", "Space of the history, as it was measured last, and of what has come since.",
		func(f etagfs.Figures) int64 { return f.History })
	found := func(where string, read func(etagfs.Figures) uint64) {
		m.Counts().Counter("ifmatch_index_lookups_total", "How often the ETag of a file was looked for, by where it was found.",
			map[string]string{"found": where}, func() float64 { return float64(read(store.Figures())) })
	}
	found("memory", func(f etagfs.Figures) uint64 { return f.Index.Memory })
	found("disk", func(f etagfs.Figures) uint64 { return f.Index.Disk })
	found("nowhere", func(f etagfs.Figures) uint64 { return f.Index.Missing })
}
