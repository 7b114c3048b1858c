package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Generation returns a text that changes when the rights of a principal can have changed: with the rules, with its
// groups, and with its app token. It is the same after a restart.
func (s *Snapshot) Generation(a *Access) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %v\n", a.who.Name, a.groups, a.who.Without)
	for _, r := range s.Rules() {
		fmt.Fprintf(h, "%q %q %q %v %v %v %v\n", r.Path, r.Who.Users, r.Who.Groups, r.Who.Authenticated, r.Who.Anonymous,
			r.Effects, r.Require)
	}
	return hex.EncodeToString(h.Sum(nil))
}
