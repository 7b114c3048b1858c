package etagfs

import (
	"context"
	"errors"
	"maps"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/feed"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// checkRounds bounds how often a Check is asked again. A Check is asked again if it named a file whose tag was not
// known, or if a file that it saw has changed before the commit could replace it. The bound allows one round for each
// file that the Check may name, and some rounds for files that change meanwhile.
const checkRounds = 10

// writerPauses are the pauses after which a write is tried again. A write pauses if a program has the file open for
// writing and the write must not ignore that. Most programs have a file open for only an instant. On a machine with
// other work the instant is as long as others have the processor. The same is true of a new process that has inherited
// the file, and closes it as it executes its program.
var writerPauses = []time.Duration{
	time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond, 8 * time.Millisecond, 16 * time.Millisecond,
}

// withTags runs step until its Check knows the tags that it asks for, no other change came between, and the disk has
// room. If exclusive is true, all other writers of this process wait, and no large file is hashed.
func (s *Store) withTags(ctx context.Context, exclusive bool, step func(v *view) error) error {
	hashed := new(hashes)
	pauses := writerPauses
	busy := error(tree.ErrBusy)
	for round, wider := 0, 0; round < checkRounds && wider < maxWider; round++ {
		v := s.newView()
		v.hashes, v.by = hashed, tree.PrincipalOf(ctx)
		err := step(v)
		v.leave()
		switch {
		case errors.Is(err, tree.ErrUnsure):
			return err
		case errors.Is(err, tree.ErrTagUnknown):
			hashed.begin()
			if err := s.scanEach(ctx, v, hashed.scanned); err != nil {
				return err
			}
			if err := s.hashEach(ctx, exclusive, v.missing, hashed); err != nil {
				return err
			}
		case errors.Is(err, errWider):
			round, wider = round-1, wider+1
		case errors.Is(err, errAgain):
		case errors.Is(err, volumes.ErrMoved):
			hashed.forget()
		case errors.Is(err, failure.ErrWriter) && len(pauses) > 0:
			select {
			case <-time.After(pauses[0]):
			case <-ctx.Done():
				return ctx.Err()
			}
			pauses = pauses[1:]
		case volumes.IsFull(err) && v.refused == nil:
			if v.staged != nil && !v.staged.MakeRoom(ctx, err) ||
				v.staged == nil && !s.fs.MakeRoom(ctx, err, v.changes) {
				return err
			}
			busy = err // the error if the freed room is never enough
		default:
			return err
		}
	}
	return busy
}

// Try implements [tree.Store].
func (s *Store) Try(ctx context.Context, cond tree.Condition) error {
	return s.try(ctx, func(v *view) error { return v.ask(cond) })
}

func (s *Store) try(ctx context.Context, step func(v *view) error) error {
	return s.withTags(ctx, false, func(v *view) error {
		return s.reader.Read(ctx, func(at *volumes.Snapshot) error {
			v.readAt(at)
			return step(v)
		})
	})
}

// hashEach hashes the files whose tags a Check has asked for. If exclusive is set, the other writers wait for it.
func (s *Store) hashEach(ctx context.Context, exclusive bool, names []string, into *hashes) error {
	for _, name := range names {
		if exclusive && s.isLarge(name) {
			return tree.ErrBusy // all other writers would wait for that
		}
		info, tag, err := s.hasher.Hash(ctx, name, hashing.Alone)
		doubtful := errors.Is(err, failure.ErrWriter)
		if doubtful {
			info, tag, err = s.hasher.Hash(ctx, name, hashing.ForCheck)
		}
		if err == nil {
			into.tags[seen{name, info.Fingerprint}] = tag
			if doubtful {
				into.doubtful[info.Fingerprint] = true
			}
		} else if !errors.Is(err, tree.ErrNotExist) {
			return err
		}
	}
	return nil
}

// isLarge reports whether a file is not hashed while all other writers wait.
func (s *Store) isLarge(name string) bool {
	info, err := s.fs.Stat(name)
	return err == nil && info.Size > copyAlone
}

// hashes are the tags that a Check of one call has asked for. The key is the file as the look found it. These tags are
// used at once or never, so they need not be reliable enough to be remembered.
type hashes struct {
	tags map[seen]tree.ETag
	// doubtful are the versions that a program had open for writing when they were hashed. The time of a change can be
	// visible before its bytes, so the tag of such a version can be wrong. The tag may refuse a write, but it must not
	// permit a write after the program has closed the file.
	doubtful map[vfs.Fingerprint]bool
	// scanned are the changes that were looked for since the Check has asked about them, see Since.
	scanned map[feed.ScanKey]bool
}

// begin makes room for the first of them.
func (h *hashes) begin() {
	if h.tags == nil {
		*h = hashes{map[seen]tree.ETag{}, map[vfs.Fingerprint]bool{}, map[feed.ScanKey]bool{}}
	}
}

// forget deletes the tags of doubtful versions, so that these tags are unknown again.
func (h *hashes) forget() {
	maps.DeleteFunc(h.tags, func(s seen, _ tree.ETag) bool { return h.doubtful[s.as] })
	clear(h.doubtful)
}
