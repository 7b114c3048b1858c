package journal

import "time"

// Begun returns the time since which the journal has all changes of the store: when its oldest file was begun. The zero
// time means that there is no journal now.
func (j *Journal) Begun() (time.Time, error) {
	j.mu.Lock()
	id := j.id
	j.mu.Unlock()
	found, err := j.segments()
	if err != nil {
		return time.Time{}, err
	}
	for _, s := range found {
		if s.id != id || id == "" {
			continue
		}
		head, err := readHeader(j.files, s)
		if err != nil {
			return time.Time{}, err
		}
		return time.Unix(0, head.made), nil
	}
	return time.Time{}, nil
}
