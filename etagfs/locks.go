package etagfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// locksName is the state file that holds the WebDAV locks: the hex SHA-256 of the rest in a line, and the rest as JSON.
const locksName = "locks"

// lockTable is the WebDAV locks of the tree. The file is the truth, since other processes change it too; what is in
// memory is the file as of its fingerprint. It is changed under [fs.FS.Lock].
type lockTable struct {
	fs     *fs.FS
	now    func() time.Time
	report func(error)

	mu    sync.Mutex
	as    fs.Info // the file when it was read
	locks []tree.Lock
}

// all returns the locks that have not expired.
func (t *lockTable) all() ([]tree.Lock, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := t.fs.StatState(locksName)
	if err != nil {
		return nil, err
	}
	if info.Fingerprint != t.as.Fingerprint || info.Inode == 0 && info.Exists() {
		if t.locks, err = t.read(info); err != nil {
			return nil, err
		}
		t.as = info
	}
	now := t.now()
	live := make([]tree.Lock, 0, len(t.locks))
	for _, l := range t.locks {
		if l.Expires.After(now) {
			live = append(live, l)
		}
	}
	return live, nil
}

// read returns the locks in the file. A damaged one counts as no locks: those are advisory, the conditions are not.
func (t *lockTable) read(info fs.Info) ([]tree.Lock, error) {
	if !info.Exists() {
		return nil, nil
	}
	data, err := t.fs.ReadState(locksName)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var kept []keptLock
	sum, rest, _ := bytes.Cut(data, []byte("\n"))
	if string(sum) != fmt.Sprintf("%x", sha256.Sum256(rest)) || json.Unmarshal(rest, &kept) != nil {
		t.report(errors.New("the file of WebDAV locks is damaged: going on without locks"))
		return nil, nil
	}
	locks := make([]tree.Lock, len(kept))
	for i, k := range kept {
		locks[i] = k.Lock
		locks[i].Root, locks[i].Owner = string(k.Root), string(k.Owner)
	}
	return locks, nil
}

// keptLock is a lock in the file. What a client has sent is bytes, of which JSON would keep only the UTF-8.
type keptLock struct {
	tree.Lock
	Root, Owner []byte
}

// replace writes the locks.
func (t *lockTable) replace(locks []tree.Lock) error {
	kept := make([]keptLock, len(locks))
	for i, l := range locks {
		kept[i] = keptLock{l, []byte(l.Root), []byte(l.Owner)}
	}
	rest, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if len(rest) > maxTable && len(locks) > len(t.locks) {
		return tree.ErrNoSpace
	}
	data := fmt.Appendf(nil, "%x\n%s", sha256.Sum256(rest), rest)
	if err := t.fs.WriteState(locksName, data); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.locks = locks
	if t.as, err = t.fs.StatState(locksName); err != nil {
		t.as = fs.Info{} // they are written; whoever asks next reads them
	}
	return nil
}

// replaced does with the locks what becomes of them, inside the commit that put something else at their name: a
// collection, or none. Those that stay cover it (RFC 4918 §7.6).
func (t *lockTable) replaced(f fate, collection bool) error {
	changed := len(f.ended) > 0
	for _, was := range f.stay {
		changed = changed || was != collection
	}
	if !changed {
		return nil
	}
	locks, err := t.all()
	if err != nil {
		return err
	}
	kept := locks[:0]
	for _, l := range locks {
		if f.ended[l.Token] {
			continue
		}
		if _, ok := f.stay[l.Token]; ok {
			l.Collection = collection
		}
		kept = append(kept, l)
	}
	return t.replace(kept)
}

// removed ends the locks of what is gone, inside the commit that took it away.
func (t *lockTable) removed(f fate) error {
	for token := range f.stay {
		f.ended[token] = true
	}
	clear(f.stay)
	return t.replaced(f, false)
}

// rootedIn reports whether a lock is of a name or of something below it.
func rootedIn(l tree.Lock, name string) bool { return l.Root == name || tree.Below(l.Root, name) }
