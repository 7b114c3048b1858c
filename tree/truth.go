package tree

// Truth is Kleene's three-valued logic: in this order, "and" is min and "or" is max.
type Truth int8

// The values of Truth. Unknown says that a store has to find out more, such as a tag, before it can be decided.
const (
	False Truth = iota
	Unknown
	True
)

// Not returns the negation.
func (t Truth) Not() Truth { return True - t }

// TruthOf returns True or False.
func TruthOf(b bool) Truth {
	if b {
		return True
	}
	return False
}

func (t Truth) String() string {
	switch t {
	case False:
		return "false"
	case True:
		return "true"
	}
	return "unknown"
}
