package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// ContentType is the media type of a stream of events.
const ContentType = "text/event-stream"

// A stream is the answer to one listener.
type stream struct {
	hub  *Hub
	ring *ring
	l    Listener
	name string // of the collection

	w       http.ResponseWriter
	control *http.ResponseController
	buffer  bytes.Buffer

	at     int         // the position in the ring
	passed tree.Cursor // all changes before it are told, or are not to be told
	sent   tree.Cursor // that of the last event that was sent

	listed *string // the collection that listAbove has named since the last flush, or nil
}

// run streams until the context ends, the client is gone, or the login or the rules have changed.
func (s *stream) run(ctx context.Context, since string) {
	h := s.w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
	s.w.WriteHeader(http.StatusOK)
	if s.begin(ctx, since) != nil {
		return
	}
	beat := time.NewTimer(s.hub.opts.Heartbeat)
	defer beat.Stop()
	for s.l.Live() && ctx.Err() == nil && !s.hub.isEnding() {
		found, more, ok := s.ring.read(s.at)
		if !ok {
			s.listAgain()
		}
		if s.tell(ctx, found) != nil {
			return
		}
		if s.buffer.Len() > 0 {
			if s.flush() != nil {
				return
			}
			beat.Reset(s.hub.opts.Heartbeat)
		}
		if len(found) > 0 || !ok {
			continue
		}
		work := limit.Rest(ctx)
		select {
		case <-more:
		case <-beat.C:
			s.heartbeat()
			beat.Reset(s.hub.opts.Heartbeat)
		case <-ctx.Done():
		case <-s.hub.opts.Ending:
		}
		work()
	}
}

func (h *Hub) isEnding() bool {
	select {
	case <-h.opts.Ending:
		return true
	default:
		return false
	}
}

// begin sends the changes since a token, or the position at which the stream begins.
func (s *stream) begin(ctx context.Context, token string) error {
	var end tree.Cursor
	s.at, end = s.ring.now()
	if token == "" {
		s.passed = end
		s.event("ready", s.passed, map[string]string{"path": s.l.Href(s.name, true)})
		return s.flush()
	}
	since, ok := s.l.Cursor(token)
	if !ok {
		s.listAgain()
		return s.flush()
	}
	if at, ok := s.ring.after(since); ok {
		s.at, s.passed, s.sent = at, since, since
		return s.flush()
	}
	err := s.catchUp(ctx, since, end)
	if err != nil && ctx.Err() == nil {
		s.listAgain()
		err = nil
	}
	return errors.Join(err, s.flush())
}

// catchUp sends the changes after a cursor up to another one. If it fails, the client has to list again.
func (s *stream) catchUp(ctx context.Context, since, end tree.Cursor) error {
	s.passed, s.sent = since, since
	for told := 0; s.l.Live() && !s.hub.isEnding(); {
		changes, err := s.hub.older(ctx, s.passed, end)
		if told += len(changes); err == nil && told > maxOlder {
			err = errOlder
		}
		if err != nil || len(changes) == 0 {
			return err
		}
		found := make([]*entry, len(changes))
		for i, c := range changes {
			found[i] = &entry{Change: c}
		}
		at := s.at
		err = s.tell(ctx, found)
		s.at = at
		if err == nil {
			err = s.flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listAgain tells the client to list everything, and goes on after all that has changed so far.
func (s *stream) listAgain() {
	s.at, s.passed = s.ring.now()
	s.event("list", s.passed, map[string]string{"path": s.l.Href(s.name, true)})
}

// maxBuffer is how many bytes of events are written before they are sent. So a listener keeps no more than these, and the
// events of one change.
const maxBuffer = 16 << 10

// tell writes the events of changes that the client may be told, and sends them where they are many.
func (s *stream) tell(ctx context.Context, found []*entry) error {
	for _, e := range found {
		messages := s.messages(ctx, e)
		for i, m := range messages {
			id := s.passed // a client that has only a part of the events of a change gets all of them again
			if i == len(messages)-1 {
				id = e.Cursor
			}
			s.event(m.event, id, m.data)
		}
		s.at++
		s.passed = e.Cursor
		if s.buffer.Len() >= maxBuffer {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// heartbeat writes a comment, or the position if changes have passed that the client was not told.
func (s *stream) heartbeat() {
	if s.passed == s.sent {
		s.buffer.WriteString(":\n\n")
		return
	}
	fmt.Fprintf(&s.buffer, "id: %s\n\n", s.l.Token(s.passed)) // an event without data is none, but its id counts
	s.sent = s.passed
}

func (s *stream) event(name string, id tree.Cursor, data any) {
	fmt.Fprintf(&s.buffer, "event: %s\nid: %s\ndata: ", name, s.l.Token(id))
	e := json.NewEncoder(&s.buffer)
	e.SetEscapeHTML(false)
	_ = e.Encode(data) // of strings, into memory. It ends the line
	s.buffer.WriteByte('\n')
	s.sent = id
}

// flush sends the buffer. The pace of the connection bounds how long it takes.
func (s *stream) flush() error {
	_, err := s.w.Write(s.buffer.Bytes())
	s.buffer.Reset()
	s.listed = nil
	if err == nil {
		err = s.control.Flush()
	}
	if errors.Is(err, http.ErrNotSupported) {
		err = nil
	}
	return err
}
