//go:build !race

package handler

// underRace reports whether the race detector watches, which makes everything ten times as slow.
const underRace = false
