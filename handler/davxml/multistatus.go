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

// A Multistatus writes the body of a 207 (RFC 4918 §13 and §14.16), one response after the other and in constant memory.
// The first error of the writer below is the result of every call after it. It may not be used concurrently.
//
// Nothing is written to the writer below before 32 KiB have come together, so that what fails at once can still get
// another status.
type Multistatus struct {
	w   io.Writer
	buf *[]byte
	err error
}

const flushAt = 32 << 10

// The buffers have room for a response of usual size beyond flushAt.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, flushAt+8<<10); return &b }}

var errClosed = errors.New("davxml: the multistatus is closed")

// NewMultistatus returns a Multistatus that writes to w; [Multistatus.Close] completes it.
func NewMultistatus(w io.Writer) *Multistatus {
	m := &Multistatus{w: w, buf: buffers.Get().(*[]byte)}
	*m.buf = append((*m.buf)[:0], declaration+`<D:multistatus xmlns:D="DAV:">`...)
	return m
}

// Response writes what is known of one resource (RFC 4918 §14.24), in the order given; clients read the first propstat
// and some read no other, so the 200 belongs first. A propstat without properties is left out. If none is left, the
// response has a 200 without properties, as it must have at least one propstat.
//
// The href is percent-encoded already. Property names are XML names, as the readers of this package return them; they
// are not checked again. An InnerXML is written as it is.
func (m *Multistatus) Response(href string, propstats ...webdav.Propstat) error {
	if m.err != nil {
		return m.err
	}
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

// Status writes that one resource has a status as a whole (RFC 4918 §13, §14.24): a member that could not be deleted, or
// not be read. condition, if it is not empty, is the name of the precondition in DAV: that was not met (RFC 4918 §16),
// like "lock-token-submitted".
func (m *Multistatus) Status(href string, code int, condition string) error {
	if m.err != nil {
		return m.err
	}
	b := appendHref(append(*m.buf, "<D:response>"...), href)
	b = appendStatus(b, code)
	if condition != "" {
		b = appendError(b, "<D:error>", condition)
	}
	*m.buf = append(b, "</D:response>"...)
	return m.flush(flushAt)
}

// Failure writes that a change of all has failed at one resource, and what people are told of it.
func (m *Multistatus) Failure(href string, code int, description string) error {
	if m.err != nil {
		return m.err
	}
	b := appendHref(append(*m.buf, "<D:response>"...), href)
	b = appendDescription(appendStatus(b, code), description)
	*m.buf = append(b, "</D:response>"...)
	return m.flush(flushAt)
}

// Flush writes what has come together so far.
func (m *Multistatus) Flush() error {
	if m.err != nil {
		return m.err
	}
	return m.flush(0)
}

// Close ends the document and writes what is left of it. A listing that cannot be completed must not be closed: it would
// look complete.
func (m *Multistatus) Close() error {
	if m.err != nil {
		return m.err
	}
	*m.buf = append(*m.buf, "</D:multistatus>"...)
	if err := m.flush(0); err != nil {
		return err
	}
	if cap(*m.buf) <= 2*flushAt { // one huge property does not stay in memory
		buffers.Put(m.buf)
	}
	m.buf, m.err = nil, errClosed
	return nil
}

// flush writes the buffer if it holds at least so much.
func (m *Multistatus) flush(least int) error {
	if len(*m.buf) < least {
		return nil
	}
	_, m.err = m.w.Write(*m.buf)
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
	case xmlSpace: // may not have another prefix, Namespaces in XML 1.0 §3
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
	case "": // there is no default namespace around it; said again for parsers that guess
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

// WriteError writes the body of an answer that names the condition in DAV: that was not met (RFC 4918 §14.5 and §16),
// and the resources it is about: the roots of the locks for "lock-token-submitted" and "no-conflicting-lock".
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
