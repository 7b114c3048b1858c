package etagfs

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
)

// sweepUploads removes expired uploads, now and then, until the context ends.
func (s *Store) sweepUploads(ctx context.Context) {
	tick := time.NewTicker(sweepTime)
	defer tick.Stop()
	for {
		s.readUploads(ctx, true)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// loadUploads finds the uploads that an earlier process has left, once.
func (s *Store) loadUploads(ctx context.Context) {
	s.uploads.mu.Lock()
	loaded := s.uploads.loaded
	s.uploads.mu.Unlock()
	if !loaded {
		s.readUploads(ctx, false)
	}
}

// readUploads counts the uploads that there are, also those of other processes, and removes the expired ones if it is
// to sweep.
func (s *Store) readUploads(ctx context.Context, sweep bool) {
	ids, err := s.fs.UploadIDs()
	if err != nil {
		s.once.Report(sweepingUploads, err)
	} else {
		s.once.Forget(sweepingUploads)
	}
	all := &s.uploads
	all.mu.Lock()
	all.loaded = true
	known := make([]string, 0, len(all.open)+len(all.finished))
	for id := range all.open {
		known = append(known, id)
	}
	known = append(known, all.finished...)
	all.mu.Unlock()
	there := make(map[string]bool, len(ids))
	for _, id := range ids {
		there[id] = true
		if ctx.Err() != nil {
			return
		}
		if file, err := s.fs.OpenUpload(id); err == nil { // else it is in use
			s.judgeUpload(id, file, sweep)
			s.tellUpload(id, file.Close())
		}
	}
	for _, id := range known {
		if !there[id] {
			all.remove(id) // another process has removed it
			s.fs.ForgetUpload(id)
		}
	}
}

// sweepingUploads stands for the search in Store.told, in place of the name of a file.
const sweepingUploads = "\x00uploads"

// judgeUpload counts an upload, or removes it if it has expired.
func (s *Store) judgeUpload(id string, file *fs.Upload, sweep bool) {
	var rec uploadRecord
	data, err := file.ReadState()
	if err == nil && json.Unmarshal(data, &rec) != nil {
		err = fs.ErrDamaged
	}
	over := false
	switch {
	case errors.Is(err, fs.ErrDamaged):
		made, failed := file.Made()
		over = failed == nil && s.now().Sub(made.ModTime()) > damagedTime
	case err == nil:
		over = !s.now().Before(rec.Expires)
	}
	switch {
	case over && sweep:
		s.uploads.remove(id)
		s.tellUpload(id, file.Remove())
	case err != nil || over:
	case rec.Tag != "":
		for _, old := range s.uploads.finish(id) {
			if old != id && sweep {
				s.dropUpload(old)
			}
		}
	default:
		s.uploads.note(id, rec.Length)
	}
}

// add counts a new upload, or fails if there are too many. One client gets no more of the limits than it leaves to
// others.
func (all *partedUploads) add(id string, u unfinished) error {
	var limits UploadLimits
	if all.limits != nil {
		limits = all.limits()
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	number, bytes := 0, int64(0)
	for _, other := range all.open {
		if u.client != "" && other.client == u.client {
			number++
			bytes += other.length
		}
	}
	if most := limits.Number; most > 0 && number >= most-len(all.open) {
		return failure.Full("there are %d unfinished uploads already, of at most %d (--unfinished-uploads), and one client gets "+
			"half of the rest", len(all.open), most)
	}
	if most := limits.Bytes; most > 0 && u.length > most-all.bytes-bytes {
		return failure.Full("the unfinished uploads may have %d bytes (--unfinished-size), and %d are announced already; one "+
			"client gets half of the rest", most, all.bytes)
	}
	all.set(id, u)
	return nil
}

// note counts an upload that was found.
func (all *partedUploads) note(id string, length int64) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.set(id, unfinished{length: length})
}

// set counts an upload. The caller holds mu.
func (all *partedUploads) set(id string, u unfinished) {
	if all.open == nil {
		all.open = map[string]unfinished{}
	}
	if _, known := all.open[id]; !known {
		all.open[id] = u
		all.bytes += u.length
	}
}

// finish counts an upload as complete, and returns the IDs of complete ones that give way to it.
func (all *partedUploads) finish(id string) (old []string) {
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
func (all *partedUploads) remove(id string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.bytes -= all.open[id].length
	delete(all.open, id)
	if i := slices.Index(all.finished, id); i >= 0 {
		all.finished = slices.Delete(all.finished, i, i+1)
	}
}
