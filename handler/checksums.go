package handler

import (
	"crypto"
	"strings"

	"ifmatch/tree"
)

// checksums returns what is known of a file's hashes, as OC-Checksum and oc:checksums have them: "SHA1:… MD5:… SHA256:…",
// the first ones being those that clients look for.
func checksums(state *tree.State) string {
	sums := state.Sums
	if sums == nil {
		sum, ok := tree.SumOf(state.Tag)
		if !ok {
			return ""
		}
		sums = tree.Sums{crypto.SHA256: sum}
	}
	var all []string
	for _, name := range []string{"SHA1", "MD5", "SHA256"} {
		if sum, ok := sums[checksumNames[name]]; ok {
			all = append(all, writeChecksum(name, sum))
		}
	}
	return strings.Join(all, " ")
}
