//go:build !unix

package blobs

// syncDir does nothing: on this system a directory cannot be synced, and the sync of a file includes its name.
func syncDir(string) error { return nil }
