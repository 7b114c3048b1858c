package locktable

// Count returns how many locks are known, including those that have expired and are not forgotten yet. It returns -1 if
// the table is locked.
func (t *Table) Count() int {
	if !t.mu.TryLock() {
		return -1
	}
	defer t.mu.Unlock()
	return len(t.set.ByToken)
}

// Steps returns how many locks were looked at because of short names, since the table was opened.
func (t *Table) Steps() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.set.steps
}

// ReadTo returns how many bytes of the file were read, or -1 if it has another format or is too large.
func (t *Table) ReadTo() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read
}
