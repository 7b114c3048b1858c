package versions

import "r-seed-1f3a754f.example/ifmatch/tree"

// A View has one resource, a version. Conditions about the address of the version are asked about it.
type View struct{ Version *tree.State }

// State implements [tree.View]. A version whose ETag is not known has none in answers either. So it matches no ETag,
// and nothing is hashed.
func (v View) State(string) (tree.State, error) {
	return tree.State{Name: v.Version.Name, Exists: true, Tag: v.Version.Tag, Dead: v.Version.Tag == ""}, nil
}

// Locks implements [tree.View]: a version has none.
func (v View) Locks(string) ([]tree.Lock, error) { return nil, nil }

func (v View) Covering(string) ([]tree.Lock, error) { return nil, nil }

func (v View) Holds(string, string) (bool, error) { return false, nil }

// Committing says that a look at a version is no part of a commit.
func (v View) Committing() bool { return false }

// Spelled returns a name as it is: the address of a version has one spelling.
func (v View) Spelled(name string) string { return name }

// SameName reports whether two names are one.
func (v View) SameName(a, b string) bool { return a == b }
