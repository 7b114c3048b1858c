package fs

// HistorySize returns the space that the history of all volumes takes, in bytes: as it was measured last, which is when
// versions were last expired or made room, and that of the versions which have come since. It reads no disk. Where it
// would wait, known is false.
func (s *FS) HistorySize() (bytes int64, known bool) {
	for _, v := range s.volumes() {
		if !v.history.mu.TryLock() {
			return 0, false
		}
		bytes += v.history.added
		for _, size := range v.history.sizes {
			bytes += size.bytes
		}
		v.history.mu.Unlock()
	}
	return bytes, true
}
