// Package davxml reads and writes the XML of WebDAV (RFC 4918 §14): request bodies within bounds, and answers as a
// stream.
//
// # Reading
//
// [ReadPropfind], [ReadProppatch] and [ReadLockInfo] accept exactly the well-formed and namespace-well-formed XML
// without a document type, in UTF-8 or UTF-16. They ignore unknown elements (RFC 4918 §17). Everything else is a
// [SyntaxError], which is the 400 of RFC 4918 §8.2. There are no entities to expand, and nothing is fetched, so the
// bounds ([MaxBody], [MaxDepth], [MaxAttributes], [MaxNames], [MaxProperties]) also bound time and memory.
//
// The scanner is not built on RawToken of encoding/xml, which accepts too much and tells too little. It accepts
// attributes without a space between them and a reference to half a surrogate pair, which it turns into U+FFFD. It
// does not tell a reference from the character: then "&#32;" after the root would be white space, and "&#10;" in an
// attribute would be a line end, which XML 1.0 §3.3.3 turns into a space. It refuses XML 1.1. TestRawTokenIsNotEnough
// shows all of these. The fuzz tests compare the scanner with encoding/xml.
//
// # Values
//
// The value of a property is returned as RFC 4918 §4.3 demands: with its names and prefixes, attributes, mixed
// content, white space and xml:lang. Comments, processing instructions and the attributes of the property's own
// element, except xml:lang, are dropped. CDATA becomes escaped text. A value is self-contained: each of its outermost
// elements declares the prefixes that it uses from outside. These are the prefixes of names and, for vocabularies
// with QNames in content, those before a colon in text and attribute values. A value must stand where there is no
// default namespace, so this package never writes one around a value.
//
// # Writing
//
// A [Multistatus] writes one response after the other in constant memory. Elements in DAV: always have the prefix D,
// and there is no white space between elements, because the mini-redirector of Windows understands nothing else
// (golang.org/issue/11177). D is bound to DAV: in every answer. So the server's own values ([AppendLocks],
// [SupportedLock], a resourcetype) use it without a declaration, which keeps listings below Windows' limit of 1 MB.
//
// Characters that XML 1.0 cannot express, and bytes that are not UTF-8, become U+FFFD. A name in the tree may have
// them, and must not make the whole listing unreadable.
package davxml

import "encoding/xml"

// The namespaces that WebDAV, XML and Namespaces in XML 1.0 §3 define.
const (
	davSpace   = "DAV:"
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

func dav(local string) xml.Name { return xml.Name{Space: davSpace, Local: local} }
