package vfs

// IsPortable reports whether a System is the one over os.Root.
func IsPortable(sys System) bool {
	_, ok := sys.(rootSystem)
	return ok
}
