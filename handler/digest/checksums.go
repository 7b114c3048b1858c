package digest

import (
	"crypto"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Checksums returns the known hashes of a file, as in OC-Checksum and oc:checksums: "SHA1:… MD5:… SHA256:…". The hashes
// that clients look for come first. It is "" where none is known.
func Checksums(state *tree.State) string {
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

// ConfirmsChecksums reports whether checksums, written as in oc:checksums, are those of a file: at least one is
// known, and none is different.
func ConfirmsChecksums(value string, state *tree.State) bool {
	have := strings.Fields(Checksums(state))
	compared := 0
	for _, given := range strings.Fields(value) {
		name, sum, _ := strings.Cut(given, ":")
		name = strings.ToUpper(name)
		i := slices.IndexFunc(have, func(h string) bool { return strings.HasPrefix(h, name+":") })
		if i < 0 {
			continue // the hash of this function is not known
		}
		if compared++; have[i] != name+":"+strings.ToLower(sum) {
			return false
		}
	}
	return compared > 0
}
