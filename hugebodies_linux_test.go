//go:build !race

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
)

// A spot is a place in a body for a large part.
type spot struct {
	method, before, after string
	all                   bool // it is tried with everything, also without -thorough
}

const (
	find    = `<D:propfind xmlns:D="DAV:">`
	update  = `<D:propertyupdate xmlns:D="DAV:">`
	updated = `</D:prop></D:set></D:propertyupdate>`
	info    = `<D:lockinfo xmlns:D="DAV:">`
	scope   = `<D:lockscope><D:exclusive/></D:lockscope>`
	kind    = `<D:locktype><D:write/></D:locktype>`
)

var spots = map[string]spot{
	"names":             {"PROPFIND", find + `<D:prop>`, `</D:prop></D:propfind>`, true},
	"names included":    {"PROPFIND", find + `<D:allprop/><D:include>`, `</D:include></D:propfind>`, false},
	"in a name":         {"PROPFIND", find + `<D:prop><x>`, `</x></D:prop></D:propfind>`, false},
	"beside them":       {"PROPFIND", find, `<D:prop/></D:propfind>`, false},
	"before all":        {"PROPFIND", ``, find + `<D:prop/></D:propfind>`, false},
	"properties":        {"PROPPATCH", update + `<D:set><D:prop>`, updated, true},
	"removed":           {"PROPPATCH", update + `<D:remove><D:prop>`, `</D:prop></D:remove></D:propertyupdate>`, false},
	"a value":           {"PROPPATCH", update + `<D:set><D:prop><x>`, `</x>` + updated, false},
	"a live value":      {"PROPPATCH", update + `<D:set><D:prop><D:lastmodified>`, `</D:lastmodified>` + updated, false},
	"in an update":      {"PROPPATCH", update, `</D:propertyupdate>`, false},
	"in a set":          {"PROPPATCH", update + `<D:set>`, `<D:prop/></D:set></D:propertyupdate>`, false},
	"an owner":          {"LOCK", info + scope + kind + `<D:owner>`, `</D:owner></D:lockinfo>`, false},
	"in a lockscope":    {"LOCK", info + kind + `<D:lockscope><D:exclusive/>`, `</D:lockscope></D:lockinfo>`, true},
	"in a locktype":     {"LOCK", info + scope + `<D:locktype><D:write/>`, `</D:locktype></D:lockinfo>`, false},
	"in a lockinfo":     {"LOCK", info + scope + kind, `</D:lockinfo>`, false},
	"of something else": {"LOCK", `<x>`, `</x>`, false},
}

// fillings are the large parts.
var fillings = map[string]func(room int) string{
	"distinct names": func(room int) string { return filled(room, func(i int) string { return "<" + word(i) + "/>" }) },
	"one name":       func(room int) string { return filled(room, same("<a/>")) },
	"many, the last again": func(room int) string {
		many := filled(1700*len("<ab/>"), func(i int) string { return "<" + word(i) + "/>" })
		return many + filled(room-len(many), same(many[strings.LastIndexByte(many, '<'):]))
	},
	"a pair of tags":     func(room int) string { return filled(room, same("<a></a>")) },
	"prefixed names":     func(room int) string { return filled(room, func(i int) string { return "<D:" + word(i) + "/>" }) },
	"live names":         func(room int) string { return filled(room, same("<D:getlastmodified/>")) },
	"live values":        func(room int) string { return filled(room, same("<D:getlastmodified>a</D:getlastmodified>")) },
	"names not in ASCII": func(room int) string { return filled(room, func(i int) string { return "<é" + word(i) + "/>" }) },
	"names in every script": func(room int) string {
		return filled(room, func(i int) string { return fmt.Sprintf("<%c%c/>", 0x4e00+i%20000, 0x5e00+i/20000) })
	},
	"long names": func(room int) string {
		long := strings.Repeat("a", 60<<10)
		return filled(room, func(i int) string { return "<" + long + word(i) + "/>" })
	},
	"one long name":    func(room int) string { return "<" + filled(room-len("</>"), same("a")) + "/>" },
	"one not in ASCII": func(room int) string { return "<" + filled(room-len("</>"), same("ä")) + "/>" },
	"nested": func(room int) string {
		return filled(room, same(strings.Repeat("<a>", 90)+strings.Repeat("</a>", 90)))
	},
	"nested too deep": func(room int) string { return filled(room, same("<a>")) },
	"attributes": func(room int) string {
		return filled(room, same("<a"+filled(128*len(` aaa=""`), func(i int) string { return " " + word(100+i) + `=""` })+"/>"))
	},
	"prefixed attributes": func(room int) string {
		return filled(room, same("<a"+filled(900, func(i int) string { return " D:" + word(100+i) + `=""` })+"/>"))
	},
	"too many attributes": func(room int) string {
		return "<a" + filled(room-len("<a/>"), func(i int) string { return " " + word(i) + `=""` }) + "/>"
	},
	"a long attribute":   func(room int) string { return `<a b="` + filled(room-len(`<a b=""/>`), same("x")) + `"/>` },
	"tabs in attributes": func(room int) string { return filled(room, same("<a b='\t'/>")) },
	"namespaces": func(room int) string {
		return filled(room, func(i int) string { return `<a xmlns="` + word(i) + `"/>` })
	},
	"prefixes": func(room int) string {
		return filled(room, func(i int) string { return `<` + word(i) + `:a xmlns:` + word(i) + `="x"/>` })
	},
	"many prefixes": func(room int) string {
		return filled(room, same("<a"+filled(900, func(i int) string { return " xmlns:" + word(i) + `="a"` })+"/>"))
	},
	"nested namespaces": func(room int) string {
		return filled(room, same(strings.Repeat(`<a xmlns="b" xmlns:c="d">`, 90)+strings.Repeat("</a>", 90)))
	},
	"a long namespace": func(room int) string {
		return `<x xmlns:n="` + filled(room/2, same("n")) + `">` + filled(room/2-40, same("<n:a/>")) + `</x>`
	},
	"a long language": func(room int) string {
		return `<x xml:lang="` + filled(room/2, same("l")) + `">` + filled(room/2-40, same("<a/>")) + `</x>`
	},
	"text":         func(room int) string { return filled(room, same("text ")) },
	"colons":       func(room int) string { return "<a>" + filled(room-len("<a></a>"), same("D:")) + "</a>" },
	"references":   func(room int) string { return filled(room, same("&amp;")) },
	"ampersands":   func(room int) string { return filled(room, same("&")) },
	"comments":     func(room int) string { return filled(room, same("<!---->")) },
	"a comment":    func(room int) string { return "<!--" + filled(room-len("<!---->"), same("-a")) + "-->" },
	"instructions": func(room int) string { return filled(room, same("<?a?>")) },
	"CDATA":        func(room int) string { return filled(room, same("<![CDATA[]]>")) },
	"brackets":     func(room int) string { return filled(room, same("]]")) },
	"lines":        func(room int) string { return filled(room, same("\r\n")) },
	"sets":         func(room int) string { return filled(room, same("<D:set><D:prop><a/></D:prop></D:set>")) },
	"scopes":       func(room int) string { return filled(room, same("<D:lockscope><D:shared/></D:lockscope>")) },
}

// around are declarations of the root that apply to all its members.
var around = map[string]string{
	"a namespace":           `xmlns:n="n" xml:lang="l"`,
	"a namespace of 30 KiB": `xmlns:n="` + strings.Repeat("n", 30<<10) + `"`,
	"a huge namespace":      `xmlns:n="` + strings.Repeat("n", bodyRoom/2) + `"`,
	"a huge language":       `xmlns:n="n" xml:lang="` + strings.Repeat("l", bodyRoom/2) + `"`,
}

// bodies are requests with XML.
func (m *measured) bodies(yield func(raw) bool) {
	const parts = 6 // without -thorough, each place gets every sixth filling
	for i, where := range slices.Sorted(maps.Keys(spots)) {
		p := spots[where]
		send := func(what, before string, filling func(room int) string) bool {
			body := before + filling(bodyRoom-len(before)-len(p.after)) + p.after
			return yield(requestOf("a body: "+where+": "+what, p.method, "/f", []string{"Depth: 0"}, []byte(body)))
		}
		for j, what := range slices.Sorted(maps.Keys(fillings)) {
			if (p.all || *thorough || (i+j)%parts == 0) && !send(what, p.before, fillings[what]) {
				return
			}
		}
		for _, what := range slices.Sorted(maps.Keys(around)) {
			before := strings.Replace(p.before, `xmlns:D="DAV:"`, `xmlns:D="DAV:" `+around[what], 1)
			if before != p.before && !send("within "+what, before, func(room int) string { return filled(room, same("<n:a/>")) }) {
				return
			}
		}
	}
	wide := []byte{0xff, 0xfe}
	for _, c := range utf16.Encode([]rune(find + `<D:prop>` + filled(bodyRoom/2-64, same("<a/>")) + `</D:prop></D:propfind>`)) {
		wide = append(wide, byte(c), byte(c>>8))
	}
	_ = yield(requestOf("a body in UTF-16", "PROPFIND", "/f", nil, wide)) &&
		yield(requestOf("a body", "PUT", "/f", nil, make([]byte, bodyRoom)))
}
