package precondition

import "strings"

// The grammars, printed. Only the fuzz targets need this.

func (t etag) String() string {
	if t.weak {
		return "W/" + t.opaque
	}
	return t.opaque
}

func (l etagList) String() string {
	if l.any {
		return "*"
	}
	return join(l.tags, ", ")
}

func printIf(header []resourceLists) string {
	var parts []string
	for _, r := range header {
		if r.tag != "" {
			parts = append(parts, "<"+r.tag+">")
		}
		parts = append(parts, join(r.lists, " "))
	}
	return strings.Join(parts, " ")
}

func (l stateList) String() string { return "(" + join(l, " ") + ")" }

func (t term) String() string {
	s := "<" + t.token + ">"
	if t.token == "" {
		s = "[" + t.tag.String() + "]"
	}
	if t.not {
		s = "Not " + s
	}
	return s
}

func join[T interface{ String() string }](items []T, separator string) string {
	var parts []string
	for _, i := range items {
		parts = append(parts, i.String())
	}
	return strings.Join(parts, separator)
}
