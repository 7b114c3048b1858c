package index

import (
	"slices"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A volume is a file system with a device number.
type volume struct {
	kept     bool     // its records are kept on disk
	prefix   string   // of its pages
	alone    bool     // the volume can be pulled out while the machine, and the root, stay
	at       string   // a directory on the volume
	unsynced []uint64 // if alone: inodes with a record of content that may not be on the disk yet
	syncing  bool
}

// wait notes that the content of a record has to reach the disk before the record is trusted.
func (x *Index) wait(f vfs.Fingerprint) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if v := x.volumes[f.Device]; v != nil && len(v.unsynced) < maxUnsynced {
		v.unsynced = append(v.unsynced, f.Inode)
	}
}

// kept returns the home and the volume that have the records of a device. The home is nil if the records are in memory
// only.
func (x *Index) kept(device uint64) (*home, volume) {
	h := x.home.Load()
	if h == nil {
		return nil, volume{}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	v := x.volumes[device]
	if v == nil || !v.kept {
		return nil, volume{}
	}
	return h, *v
}

// Mounted says on which volume a directory is that is not on the root's device, and whether the volume is mounted by
// itself. The kernel can give the device number of a volume that was unmounted to the next one.
func (x *Index) Mounted(device uint64, is vfs.Volume, alone bool, dir string) {
	x.mu.Lock()
	known := x.volumes[device]
	x.mu.Unlock()
	found := volume{kept: is.Numbered && is.Name != "", prefix: is.Name + "-", alone: alone, at: dir}
	if known != nil && known.prefix == found.prefix && known.alone == alone && (known.kept || !found.kept) {
		return
	}
	found.kept = found.kept && (!alone || !x.isLazy(dir))
	x.mu.Lock()
	defer x.mu.Unlock()
	x.volumes[device] = &found
}

// Knows reports whether the volume of a device is known.
func (x *Index) Knows(device uint64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.volumes[device] != nil || x.home.Load() == nil
}

// Persists reports whether the records of a device are kept on disk.
func (x *Index) Persists(device uint64) bool {
	h, _ := x.kept(device)
	return h != nil
}

// complete has the epochs until now completed, on each volume, in goroutines of its own.
func (x *Index) complete(h *home) {
	h.epochs.complete(func() error { return x.opts.Sync("", x.opts.Device) })
	x.syncOthers(h, &h.epochs.finished)
}

// syncOthers writes the content of the records on volumes that are mounted by themselves to the disk, each volume in a
// goroutine of its own, and then marks the records as synced.
func (x *Index) syncOthers(h *home, in *sync.WaitGroup) {
	for device, v := range x.waiting() {
		number := h.epochs.raise()
		in.Go(func() {
			err := x.opts.Sync(v.at, device)
			if err == nil {
				x.promote(h, device, v, number)
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			if now := x.volumes[device]; now != nil && now.prefix == v.prefix {
				now.syncing = false
				if err != nil {
					room := maxUnsynced - len(now.unsynced)
					now.unsynced = append(now.unsynced, v.unsynced[:min(len(v.unsynced), room)]...)
				}
			}
		})
	}
}

// waiting returns the volumes with records whose content may not be on the disk yet, and marks these volumes as being
// synced.
func (x *Index) waiting() map[uint64]volume {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := map[uint64]volume{}
	for device, v := range x.volumes {
		if len(v.unsynced) > 0 && !v.syncing {
			found[device] = *v
			v.unsynced, v.syncing = nil, true
		}
	}
	return found
}

// promote marks records as synced that were made in the given epoch of this run, or in an earlier one.
func (x *Index) promote(h *home, device uint64, v volume, number uint32) {
	slices.Sort(v.unsynced)
	for _, inode := range slices.Compact(v.unsynced) {
		e, ok := h.pages.read(v.prefix, vfs.Fingerprint{Device: device, Inode: inode})
		if ok && e.run == h.epochs.run && e.number <= number {
			e.Has |= Synced
			h.pages.write(v.prefix, &e)
		}
	}
}

// syncAll writes the content of all records to the disk, on each volume by itself. It reports whether the root's volume
// was written in time.
func (x *Index) syncAll(h *home, patience time.Duration) bool {
	var each sync.WaitGroup
	x.syncOthers(h, &each)
	root, others := make(chan error, 1), make(chan struct{})
	go func() { root <- x.opts.Sync("", x.opts.Device) }()
	go func() {
		each.Wait()
		close(others)
	}()
	end := time.After(patience)
	synced := false
	select {
	case err := <-root:
		synced = err == nil
	case <-end:
		return false
	}
	select {
	case <-others:
	case <-end:
	}
	return synced
}
