package davxml

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"

	"golang.org/x/net/webdav"
)

const declaration = `<?xml version="1.0" encoding="utf-8"?>` + "\n"

// A Multistatus writes the body of a 207 (RFC 4918 §13 and §14.16), one response after the other and in constant
// memory. After the first error of the writer below, all calls return that error. The methods must not be called
// concurrently.
//
// It writes nothing to the writer below before it has 32 KiB, so that an early failure can still have another status.
type Multistatus struct {
	w   io.Writer
	buf *[]byte
	err error
}

const flushAt = 32 << 10

// The buffers have room for a response of usual size beyond flushAt.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, flushAt+8<<10); return &b }}

var errClosed = errors.New("davxml: the multistatus is closed")

// NewMultistatus returns a Multistatus that writes to w. [Multistatus.Close] completes the body.
func NewMultistatus(w io.Writer) *Multistatus {
	m := &Multistatus{w: w, buf: buffers.Get().(*[]byte)}
	*m.buf = append((*m.buf)[:0], declaration+`<D:multistatus xmlns:D="DAV:">`...)
	return m
}

// Response writes the properties of a resource (RFC 4918 §14.24) in the given order. The 200 must come first, because
// some clients read only the first propstat. It omits a propstat without properties. If all are empty, it writes a
// 200 without properties, because a response needs a propstat.
//
// The href must be percent-encoded. Property names must be XML names, as the readers of this package return them, and
// are not checked again. An InnerXML is written unchanged.
func (m *Multistatus) Response(href string, propstats ...webdav.Propstat) error {
	b := appendHref(append(*m.buf, "<D:response>"...), href)
	written := false
	for i := range propstats {
		if ps := &propstats[i]; len(ps.Props) > 0 {
			written = true
			b = appendPropstat(b, ps)
		}
	}
	if !written {
		b = appendPropstat(b, &webdav.Propstat{Status: http.StatusOK})
	}
	*m.buf = append(b, "</D:response>"...)
	return m.flush(flushAt)
}

// Status writes the status of a whole resource (RFC 4918 §13, §14.24), such as a member that could not be deleted or
// read. condition is "" or the name of the precondition in DAV: that was not met (RFC 4918 §16), such as
// "lock-token-submitted", and description is "" or a sentence for people.
func (m *Multistatus) Status(href string, code int, condition, description string) error {
	b := appendHref(append(*m.buf, "<D:response>"...), href)
	b = appendStatus(b, code)
	if condition != "" {
		b = appendError(b, "<D:error>", condition)
	}
	*m.buf = append(appendDescription(b, description), "</D:response>"...)
	return m.flush(flushAt)
}

// SyncToken writes the DAV:sync-token of a report (RFC 6578 §6.4). It comes after all responses.
func (m *Multistatus) SyncToken(token string) error {
	b := AppendText(append(*m.buf, "<D:sync-token>"...), token)
	*m.buf = append(b, "</D:sync-token>"...)
	return m.flush(flushAt)
}

// Flush writes the buffer to the writer below.
func (m *Multistatus) Flush() error { return m.flush(0) }

// Close completes the document and writes the rest of it. An incomplete listing must not be closed, because it would
// look complete.
func (m *Multistatus) Close() error {
	*m.buf = append(*m.buf, "</D:multistatus>"...)
	if err := m.flush(0); err != nil {
		return err
	}
	if cap(*m.buf) <= 2*flushAt { // a huge property must not stay in memory
		buffers.Put(m.buf)
	}
	m.buf, m.err = new([]byte), errClosed
	return nil
}

// flush writes the buffer if it holds at least a number of bytes. After an error it throws the buffer away.
func (m *Multistatus) flush(least int) error {
	if m.err == nil && len(*m.buf) < least {
		return nil
	}
	if m.err == nil {
		_, m.err = m.w.Write(*m.buf)
	}
	*m.buf = (*m.buf)[:0]
	return m.err
}

func appendHref(b []byte, href string) []byte {
	b = append(b, "<D:href>"...)
	b = AppendText(b, href)
	return append(b, "</D:href>"...)
}

func appendStatus(b []byte, code int) []byte {
	b = append(b, "<D:status>HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, ' ')
	b = append(b, webdav.StatusText(code)...)
	return append(b, "</D:status>"...)
}

// appendPropstat appends a propstat, RFC 4918 §14.22.
func appendPropstat(b []byte, ps *webdav.Propstat) []byte {
	b = append(b, "<D:propstat><D:prop>"...)
	for i := range ps.Props {
		b = appendProperty(b, &ps.Props[i])
	}
	b = append(b, "</D:prop>"...)
	b = appendStatus(b, ps.Status)
	if ps.XMLError != "" {
		b = append(b, "<D:error>"...)
		b = append(b, ps.XMLError...)
		b = append(b, "</D:error>"...)
	}
	return append(appendDescription(b, ps.ResponseDescription), "</D:propstat>"...)
}

// appendDescription appends a responsedescription, RFC 4918 §14.25, unless it is empty.
func appendDescription(b []byte, text string) []byte {
	if text == "" {
		return b
	}
	b = append(b, "<D:responsedescription>"...)
	b = AppendText(b, text)
	return append(b, "</D:responsedescription>"...)
}

func appendProperty(b []byte, p *webdav.Property) []byte {
	prefix := "ns:"
	switch p.XMLName.Space {
	case davSpace:
		prefix = "D:"
	case xmlSpace: // Namespaces in XML 1.0 §3 permits no other prefix
		prefix = "xml:"
	case "":
		prefix = ""
	}
	b = append(b, '<')
	b = append(b, prefix...)
	b = append(b, p.XMLName.Local...)
	switch prefix {
	case "ns:":
		b = append(b, " xmlns:ns"...)
		b = appendAttribute(b, p.XMLName.Space)
	case "": // there is no default namespace here, but some parsers guess
		b = append(b, ` xmlns=""`...)
	}
	if p.Lang != "" {
		b = append(b, " xml:lang"...)
		b = appendAttribute(b, p.Lang)
	}
	if len(p.InnerXML) == 0 {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	b = append(b, p.InnerXML...)
	b = append(b, "</"...)
	b = append(b, prefix...)
	b = append(b, p.XMLName.Local...)
	return append(b, '>')
}

// WriteError writes the body of an answer that names the precondition in DAV: that was not met (RFC 4918 §14.5 and
// §16), and the resources that it is about: for "lock-token-submitted" and "no-conflicting-lock" the roots of the
// locks.
func WriteError(w io.Writer, condition string, hrefs ...string) error {
	_, err := w.Write(appendError([]byte(declaration), `<D:error xmlns:D="DAV:">`, condition, hrefs...))
	return err
}

func appendError(b []byte, tag, condition string, hrefs ...string) []byte {
	b = append(b, tag...)
	b = append(b, "<D:"...)
	b = append(b, condition...)
	if len(hrefs) == 0 {
		return append(b, "/></D:error>"...)
	}
	b = append(b, '>')
	for _, href := range hrefs {
		b = appendHref(b, href)
	}
	b = append(b, "</D:"...)
	b = append(b, condition...)
	return append(b, "></D:error>"...)
}
