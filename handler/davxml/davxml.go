// Package davxml is the XML of WebDAV (RFC 4918 §14): request bodies, read within bounds, and answers, written as they
// come.
//
// # Reading
//
// [ReadPropfind], [ReadProppatch] and [ReadLockInfo] accept exactly what is well-formed and namespace-well-formed XML
// without a document type, in UTF-8 or UTF-16, and ignore the elements they do not know (RFC 4918 §17). The rest is a
// [SyntaxError], which is the 400 of RFC 4918 §8.2. There are no entities to expand and nothing is fetched, so the
// bounds ([MaxBody], [MaxDepth], [MaxAttributes], [MaxNames], [MaxProperties]) are bounds of time and memory too.
//
// encoding/xml is not used, because it lets pass what must be refused: undeclared prefixes, xmlns:p="", an attribute
// twice, text after the root, attributes without a space between them. The tests use it to check our scanner.
//
// # Values
//
// What a client stores in a property comes back as RFC 4918 §4.3 asks: names and their prefixes, attributes, mixed
// content, white space and xml:lang. Comments, processing instructions and the attributes of the property's own
// element other than xml:lang are dropped, CDATA becomes escaped text. A value carries its namespaces with it: each
// of its outermost elements declares the prefixes that it uses from outside, in names or, for the vocabularies that
// keep QNames in content, before a colon in text and attribute values. It relies only on there being no default
// namespace around it, and this package never writes one around a value.
//
// # Writing
//
// [Multistatus] writes one response after the other in constant memory. Elements in DAV: always have the prefix D and
// there is no white space between elements, because the mini-redirector of Windows understands nothing else
// (golang.org/issue/11177). As D is bound to DAV: in every answer, the server's own values ([LockDiscovery],
// [SupportedLock], a resourcetype) use it without a declaration, which keeps listings below Windows' limit of 1 MB.
//
// Characters that XML 1.0 cannot express, and bytes that are not UTF-8, become U+FFFD: a name in the tree may have them,
// and it must not take the whole listing with it.
package davxml

import "encoding/xml"

// The namespaces that WebDAV, XML and Namespaces in XML 1.0 §3 define.
const (
	davSpace   = "DAV:"
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

func dav(local string) xml.Name { return xml.Name{Space: davSpace, Local: local} }
