package web

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// texts is the table that the scripts of the page have too: JSON behind the words "export default".
var texts = sync.OnceValue(func() (table map[string]string) {
	content, err := embedded.ReadFile("app/english.js")
	if err == nil {
		_, object, _ := strings.Cut(string(content), "export default ")
		err = json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimSpace(object), ";")), &table)
	}
	if err != nil {
		panic(err) // an embedded file can be read
	}
	return table
})

// Text returns the text for people that has a key in the table of the page, with {0}, {1} … replaced. A key that is not
// there is its own text.
func Text(key string, values ...any) string {
	text, ok := texts()[key]
	if !ok {
		return key
	}
	var pairs []string
	for i, v := range values {
		pairs = append(pairs, fmt.Sprintf("{%d}", i), fmt.Sprint(v))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// Funcs are the functions of templates that write HTML for people: t is [Text].
var Funcs = map[string]any{"t": Text}
