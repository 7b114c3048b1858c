//go:build !linux

package doctor

// watchLimit is not known here.
func watchLimit() (int, bool) { return 0, false }

// clock is not looked at here.
func (d *Diagnosis) clock() {}
