package locktable

// A Fate says which locks end and which stay if a commit puts another resource, or none, at a name. It is determined
// before the commit, because after it the disk no longer tells which names were one.
type Fate struct {
	Ended map[string]bool // the tokens of the locks that end
	Stay  map[string]bool // the tokens of the locks on the name, which then cover the new resource
}

// None reports whether no lock ends or stays.
func (f Fate) None() bool { return len(f.Ended)+len(f.Stay) == 0 }

// All returns the fate if the commit leaves no resource at the name: all locks end.
func (f Fate) All() Fate {
	for token := range f.Stay {
		f.Ended[token] = true
	}
	clear(f.Stay)
	return f
}
