package uploads

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// patch answers a PATCH: the next part of an upload, or another try of the commit.
func (s *Server) patch(w http.ResponseWriter, r *http.Request, id string, c Caller) error {
	offset, err := size(r.Header, "Upload-Offset")
	if err != nil {
		return err
	}
	up, leave, err := s.open(id, c)
	if err != nil {
		return err
	}
	defer leave()
	state := up.State()
	defer func() { s.describe(w.Header(), up.State()) }() // also of a refusal
	s.describe(w.Header(), state)
	again := state.Tag == "" && state.Offset == state.Length && offset == state.Offset // a part without bytes
	if offset != acknowledged(state) && !again {
		return refuse(http.StatusConflict, "the upload is at byte %d and not at %d; go on there", acknowledged(state), offset)
	}
	if err := s.checkPart(r, state.Length-offset); err != nil {
		return err
	}
	if state.Tag != "" { // the answer to the last part was lost
		w.Header().Set("ETag", string(state.Tag))
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	n := noteOf(state)
	fields := n.header()
	if now := kept(r.Header, Conditions...); len(now) > 0 {
		fields = kept(fields, others...)
		maps.Copy(fields, now)
	}
	write, err := c.Write(state.Name, fields, state.Length)
	if err != nil {
		return err
	}
	if err := s.receive(r, c, up, write, offset); err != nil {
		return err
	}
	s.describe(w.Header(), up.State())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// checkPart checks the form of a request with a part of an upload. left is the number of bytes that the upload still lacks.
func (s *Server) checkPart(r *http.Request, left int64) error {
	if typ := r.Header.Get("Content-Type"); typ != Type {
		return refuse(http.StatusUnsupportedMediaType, "send the bytes of an upload with Content-Type: %s", Type)
	}
	for _, coding := range r.Header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return refuse(http.StatusUnsupportedMediaType, "a Content-Encoding is not supported; send the bytes without it")
		}
	}
	if r.ContentLength > left {
		return refuse(http.StatusRequestEntityTooLarge, "%d bytes of the upload are left, and the body has %d; nothing of "+
			"it was kept", left, r.ContentLength)
	}
	return nil
}

// receive appends the body of a request, and commits the upload if that was the last part.
func (s *Server) receive(r *http.Request, c Caller, up tree.Upload, write *Write, offset int64) error {
	body, verify, err := verified(r)
	if err != nil {
		return err
	}
	state := up.State()
	if offset < state.Length && offset < state.Offset { // the last byte, which was not acknowledged, comes again
		if err := sameByte(body, verify); err != nil {
			return err
		}
	} else if offset < state.Length {
		opts := tree.AppendOptions{Verify: verify, Expires: s.expires, Cond: write.Cond}
		if err := up.Append(c.Context(), body, opts); err != nil {
			return err
		}
	}
	if state = up.State(); state.Offset < state.Length {
		return nil
	}
	made, created, err := up.Put(c.Context(), write.Name, write.Options, write.Cond)
	if err != nil {
		return err
	}
	write.Done(made, created)
	return nil
}

// sameByte reads the last byte of an upload, which the server has already. It does not matter which byte comes: the
// hash of the file is that of the first one, and the client learns it.
func sameByte(body io.Reader, verify func() error) error {
	var rest [2]byte
	n, err := io.ReadFull(body, rest[:])
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return refuse(http.StatusBadRequest, "the last byte of the upload did not come")
	case errors.Is(err, io.ErrUnexpectedEOF) && verify != nil:
		return verify()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil
	case err != nil:
		return &tree.BodyError{Err: err}
	}
	return refuse(http.StatusRequestEntityTooLarge, "one byte of the upload is left, and the body has more")
}
