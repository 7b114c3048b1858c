package servertest

import (
	"fmt"
	"strings"
)

// Rules returns rules as the configuration file has them, of one line each: "PATH WHO,… EFFECT,…", such as
// "/docs ann,@staff list,read". The effects "-" are none.
func Rules(rules ...string) string {
	var b strings.Builder
	list := func(words string) string {
		if words == "-" {
			return ""
		}
		return `"` + strings.ReplaceAll(words, ",", `", "`) + `"`
	}
	for _, rule := range rules {
		words := strings.Fields(rule)
		if len(words) != 3 {
			panic(fmt.Sprintf("a rule has a path, principals and effects, and not %q", rule))
		}
		fmt.Fprintf(&b, "\n[[rule]]\npath = %q\nwho = [%s]\neffects = [%s]\n", words[0], list(words[1]), list(words[2]))
	}
	return b.String()
}
