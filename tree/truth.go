package tree

// Truth is a value of Kleene's three-valued logic. In the order of the values, "and" is min and "or" is max.
type Truth int8

// Unknown means that the store must find out more, such as a tag, before the value is False or True.
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
