//go:build !linux

package compare

func kernel() string { return "unknown" }

func fileSystem(string) string { return "unknown file system" }
