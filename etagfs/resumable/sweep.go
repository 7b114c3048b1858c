package resumable

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
)

// Sweep removes expired uploads. It has to be called every [SweepTime].
func (all *Uploads) Sweep(ctx context.Context) { all.read(ctx, true) }

// load finds the uploads that an earlier process has left, once.
func (all *Uploads) load(ctx context.Context) {
	all.mu.Lock()
	loaded := all.unfinished != nil
	all.mu.Unlock()
	if !loaded {
		all.read(ctx, false)
	}
}

// read counts the uploads that there are, also those of other processes, and removes the expired ones if it is
// to sweep.
func (all *Uploads) read(ctx context.Context, sweep bool) {
	ids, err := all.FS.UploadIDs()
	if err != nil {
		all.Once.Report(sweepingUploads, err)
	} else {
		all.Once.Forget(sweepingUploads)
	}
	all.mu.Lock()
	if all.unfinished == nil {
		all.unfinished = map[string]unfinishedUpload{}
	}
	known := slices.AppendSeq(slices.Clone(all.finished), maps.Keys(all.unfinished))
	all.mu.Unlock()
	there := make(map[string]bool, len(ids))
	for _, id := range ids {
		there[id] = true
		if ctx.Err() != nil {
			return
		}
		if file, err := all.FS.OpenUpload(id); err == nil { // else it is in use
			all.judge(id, file, sweep)
			all.tell(id, file.Close())
		}
	}
	for _, id := range known {
		if !there[id] {
			all.remove(id) // another process has removed it
			all.FS.ForgetUpload(id)
		}
	}
}

// sweepingUploads stands for the search as the subject of an error.
const sweepingUploads = "\x00uploads"

// judge counts an upload, or removes it if it has expired.
func (all *Uploads) judge(id string, file *fs.Upload, sweep bool) {
	var rec record
	data, err := file.ReadState()
	if err == nil && json.Unmarshal(data, &rec) != nil {
		err = fs.ErrDamaged
	}
	over := false
	switch {
	case errors.Is(err, fs.ErrDamaged):
		made, failed := file.Made()
		over = failed == nil && all.Now().Sub(made.ModTime()) > damagedTime
	case err == nil:
		over = !all.Now().Before(rec.Expires)
	}
	switch {
	case over && sweep:
		all.remove(id)
		all.tell(id, file.Remove())
	case err != nil || over:
	case rec.Tag != "":
		for _, old := range all.finish(id) {
			if old != id && sweep {
				all.drop(old)
			}
		}
	default:
		all.note(id, rec.Length)
	}
}

// add counts a new upload, or fails if there are too many. One client gets no more of the limits than it leaves to
// others.
func (all *Uploads) add(id, client string, length int64) error {
	var limits Limits
	if all.Limits != nil {
		limits = all.Limits()
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	number, bytes, total := 0, int64(0), int64(0) // of this client, and the bytes of all
	for _, other := range all.unfinished {
		total += other.length
		if client != "" && other.client == client {
			number++
			bytes += other.length
		}
	}
	if most := limits.Number; most > 0 && number >= most-len(all.unfinished) {
		return failure.Full("there are %d unfinished uploads already, of at most %d (--unfinished-uploads), and one "+
			"client gets half of the rest", len(all.unfinished), most)
	}
	if most := limits.Bytes; most > 0 && length > most-total-bytes {
		return failure.Full("the unfinished uploads may have %d bytes (--unfinished-size), and %d are announced "+
			"already; one client gets half of the rest", most, total)
	}
	all.unfinished[id] = unfinishedUpload{length, client}
	return nil
}

// note counts an upload that was found.
func (all *Uploads) note(id string, length int64) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if _, known := all.unfinished[id]; !known {
		all.unfinished[id] = unfinishedUpload{length: length}
	}
}

// finish counts an upload as complete, and returns the IDs of complete ones that give way to it.
func (all *Uploads) finish(id string) (old []string) {
	all.remove(id)
	all.mu.Lock()
	defer all.mu.Unlock()
	all.finished = append(all.finished, id)
	for len(all.finished) > maxFinished {
		old = append(old, all.finished[0])
		all.finished = all.finished[1:]
	}
	return old
}

// remove counts an upload no more.
func (all *Uploads) remove(id string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.unfinished, id)
	all.finished = slices.DeleteFunc(all.finished, func(other string) bool { return other == id })
}
