// Package uploads speaks tus 1.0.0 (https://tus.io/protocols/resumable-upload): uploads that arrive in several requests
// and so survive a broken line. It has the core protocol, and the extensions creation, creation-with-upload,
// termination, checksum and expiration.
//
// An upload becomes the content of its target by a PUT with the condition headers of its creation. The condition is
// asked at the creation, before each part, and inside the commit. A condition that is not true ends in 412, and what
// has arrived stays until it expires. The next PATCH may then have another condition.
//
// The last byte of an upload is only acknowledged by the commit: until then the server answers an Upload-Offset below
// Upload-Length. Clients of tus take the two being equal for a success. So a client that asks after a crash or a refusal
// sends the last byte once more, and learns whether the commit succeeds.
//
// The package knows no names, no rights and no conditions: a [Caller] does.
package uploads

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Version is the version of the protocol, and Extensions are those of its extensions that work.
const (
	Version    = "1.0.0"
	Extensions = "creation,creation-with-upload,termination,checksum,expiration"
	// Type is the media type of the body of a PATCH.
	Type = "application/offset+octet-stream"
	// Allow are the methods of the address of all uploads, and AllowOne those of the address of an upload.
	Allow    = "OPTIONS, POST"
	AllowOne = "OPTIONS, HEAD, PATCH, DELETE"
)

// Patience is how long a request waits until another one, which it interrupts, has left the upload.
const Patience = 10 * time.Second

// An Error is a refusal by the protocol.
type Error struct {
	Status int
	Detail string
	Allow  string // of a 405
}

func (e *Error) Error() string { return e.Detail }

func refuse(status int, format string, args ...any) error {
	return &Error{Status: status, Detail: fmt.Sprintf(format, args...)}
}

// errGone is the answer about an upload that does not exist, has ended, or belongs to another principal.
var errGone = &Error{Status: http.StatusNotFound,
	Detail: "there is no such upload: it has expired, was ended, or is of another user"}

// A Caller is a request, as the handler knows it.
type Caller interface {
	// Context is that of the request, with its principal.
	Context() context.Context
	// Owner is the principal that asks, as the note of an upload names it, and Owns reports whether the principal may use
	// the uploads of an owner.
	Owner() string
	Owns(owner string) bool
	// Target returns the name of the file that a creation is about. rel is the path that the metadata have, or "".
	Target(rel string) (name string, err error)
	// Write returns the PUT of a name with some fields of the header, after it has checked rights and conditions. length
	// is that of the whole body.
	Write(name string, fields http.Header, length int64) (*Write, error)
	// URL returns the absolute URL of an upload.
	URL(id string) string
	// Interrupt ends the request, because another one goes on with its upload. It must not wait.
	Interrupt()
}

// A Write is the PUT that an upload ends with.
type Write struct {
	Name    string
	Options tree.PutOptions
	Cond    tree.Condition
	// Done notes the new version, and sets its fields in the header of the answer.
	Done func(s tree.State, created bool)
}

// Config configures a [Server]. Store is needed.
type Config struct {
	Store tree.Uploads
	// Expiry is how long an upload is kept after its last byte (0: a day).
	Expiry time.Duration
	// Most returns the most bytes of a file (0: any number).
	Most func() int64
	Now  func() time.Time // the clock (nil: time.Now)
}

// A Server answers the requests about uploads.
type Server struct {
	Config
	users users
}

// New returns a server.
func New(c Config) *Server {
	if c.Expiry <= 0 {
		c.Expiry = 24 * time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Most == nil {
		c.Most = func() int64 { return 0 }
	}
	return &Server{Config: c}
}

// Method returns the method of a request about an upload. Clients behind proxies that pass on no PATCH name it in a
// field of the header.
func Method(r *http.Request) string {
	if over := r.Header.Get("X-HTTP-Method-Override"); over != "" && r.Method == http.MethodPost {
		return over
	}
	return r.Method
}

// IsCreation reports whether a POST to any address creates an upload.
func IsCreation(r *http.Request) bool {
	return r.Method == http.MethodPost && r.Header.Get("Tus-Resumable") != "" &&
		r.Header.Get("X-HTTP-Method-Override") == ""
}

// Serve answers a request about an upload, or about the address of all uploads if id is "". The error is for the
// caller to answer.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, id string, c Caller) error {
	h := w.Header()
	h.Set("Tus-Resumable", Version)
	h.Set("Cache-Control", "no-store")
	method := Method(r)
	if method == http.MethodOptions {
		return s.options(w, id)
	}
	if version := r.Header.Get("Tus-Resumable"); version != Version && (id == "" || method != http.MethodGet) {
		h.Set("Tus-Version", Version)
		return refuse(http.StatusPreconditionFailed, "this is the address of uploads by the protocol tus; send "+
			"Tus-Resumable: %s", Version)
	}
	switch {
	case id == "" && method == http.MethodPost:
		return s.create(w, r, c)
	case id == "":
		return &Error{Status: http.StatusMethodNotAllowed, Allow: Allow, Detail: "a POST creates an upload here"}
	case method == http.MethodHead:
		return s.head(w, id, c)
	case method == http.MethodPatch:
		return s.patch(w, r, id, c)
	case method == http.MethodDelete:
		return s.end(w, id, c)
	}
	return &Error{Status: http.StatusMethodNotAllowed, Allow: AllowOne, Detail: "this is an upload that is on the way"}
}

func (s *Server) options(w http.ResponseWriter, id string) error {
	h := w.Header()
	h.Set("Tus-Version", Version)
	h.Set("Tus-Extension", Extensions)
	h.Set("Tus-Checksum-Algorithm", Algorithms)
	if most := s.Most(); most > 0 {
		h.Set("Tus-Max-Size", strconv.FormatInt(most, 10))
	}
	h.Set("Allow", AllowOne)
	if id == "" {
		h.Set("Allow", Allow)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// create answers a POST. A body is the first part. An upload without bytes is complete at once.
func (s *Server) create(w http.ResponseWriter, r *http.Request, c Caller) error {
	if err := checkExtensions(r.Header); err != nil {
		return err
	}
	length, err := size(r.Header, "Upload-Length")
	if err != nil {
		return err
	}
	metadata, err := ParseMetadata(r.Header.Get("Upload-Metadata"))
	if err != nil {
		return refuse(http.StatusBadRequest, "Upload-Metadata: %v", err)
	}
	with := r.ContentLength != 0
	if with {
		if err := s.checkPart(r, length); err != nil {
			return err
		}
	}
	name, err := c.Target(metadata.target())
	if err != nil {
		return err
	}
	fields := kept(r.Header, Fields...)
	if mtime := metadata["mtime"]; mtime != "" { // rclone 1.76 has the time of now in X-OC-Mtime
		fields["X-Oc-Mtime"] = []string{mtime}
	}
	write, err := c.Write(name, fields, length)
	if err != nil {
		return err
	}
	data, err := json.Marshal(newNote(c.Owner(), fields, r.Header.Get("Upload-Metadata")))
	if err != nil {
		return err
	}
	if len(data) > tree.MaxNote {
		return refuse(http.StatusRequestHeaderFieldsTooLarge, "the conditions and the metadata of the upload are too long "+
			"to be kept")
	}
	opts := tree.UploadOptions{Length: length, Note: data, Expires: s.expires()}
	up, err := s.Store.NewUpload(c.Context(), write.Name, opts, write.Cond)
	if err != nil {
		return err
	}
	defer up.Close()
	id := up.State().ID
	if me, _, _ := s.users.tryEnter(id, c); me != nil { // no other request knows the ID yet
		s.users.uses(me, c.Owner())
		defer s.users.leave(id, me)
	}
	w.Header().Set("Location", c.URL(up.State().ID))
	if with || length == 0 {
		if err := s.receiveFirst(w, r, c, up, write); err != nil {
			return err
		}
	}
	s.describe(w.Header(), up.State())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// receiveFirst receives the part that comes with the creation of an upload.
func (s *Server) receiveFirst(w http.ResponseWriter, r *http.Request, c Caller, up tree.Upload, write *Write) error {
	err := s.receive(r, c, up, write, 0)
	if err == nil {
		return nil
	}
	s.describe(w.Header(), up.State())
	if up.State().Offset == 0 || errors.As(err, new(*tree.BodyError)) {
		// There is nothing to go on with, or the line is broken, so that the client does not learn the address.
		for _, field := range []string{"Location", "Upload-Offset", "Upload-Expires"} {
			w.Header().Del(field)
		}
		err = errors.Join(err, up.Remove(c.Context()))
	}
	return err
}

// checkExtensions refuses a creation that counts on an extension which the server has not. A part of a concatenation
// would otherwise become the whole file.
func checkExtensions(h http.Header) error {
	for field, extension := range map[string]string{
		"Upload-Concat": "concatenation", "Upload-Defer-Length": "creation-defer-length",
	} {
		if strings.Join(h.Values(field), "") != "" {
			return refuse(http.StatusBadRequest, "%s: the extension %s is not supported; nothing was created", field, extension)
		}
	}
	return nil
}

// expires returns when an upload ends of which a byte has come now.
func (s *Server) expires() time.Time { return s.Now().Add(s.Expiry) }

// head answers how far an upload is.
func (s *Server) head(w http.ResponseWriter, id string, c Caller) error {
	up, leave, err := s.open(id, c)
	if err != nil {
		return err
	}
	defer leave()
	state := up.State()
	s.describe(w.Header(), state)
	w.Header().Set("Upload-Length", strconv.FormatInt(state.Length, 10))
	if n := noteOf(state); n.Metadata != "" {
		w.Header().Set("Upload-Metadata", n.Metadata)
	}
	if state.Tag != "" {
		w.Header().Set("ETag", string(state.Tag))
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// end answers a DELETE. After the commit there is nothing to end, and the file stays.
func (s *Server) end(w http.ResponseWriter, id string, c Caller) error {
	up, leave, err := s.open(id, c)
	if err != nil {
		return err
	}
	defer leave()
	if err := up.Remove(c.Context()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// open opens an upload of the caller. An earlier request that goes on with it is interrupted.
func (s *Server) open(id string, c Caller) (tree.Upload, func(), error) {
	ctx, cancel := context.WithTimeout(c.Context(), Patience)
	defer cancel()
	up, leave, err := s.enter(ctx, id, c)
	switch {
	case errors.Is(err, tree.ErrNotExist):
		return nil, nil, errGone
	case errors.Is(err, tree.ErrBusy), errors.Is(err, context.DeadlineExceeded) && c.Context().Err() == nil:
		return nil, nil, refuse(http.StatusLocked, "another request goes on with this upload; try again")
	case err != nil:
		return nil, nil, err
	}
	return up, leave, nil
}

// describe sets the fields about an upload.
func (s *Server) describe(h http.Header, state tree.UploadState) {
	h.Set("Upload-Offset", strconv.FormatInt(acknowledged(state), 10))
	if state.Tag == "" {
		h.Set("Upload-Expires", state.Expires.UTC().Format(http.TimeFormat))
	} else {
		h.Del("Upload-Expires")
	}
}

// acknowledged returns the offset as clients see it, see the comment of the package.
func acknowledged(state tree.UploadState) int64 {
	if state.Tag == "" && state.Offset == state.Length {
		return max(state.Length-1, 0)
	}
	return state.Offset
}
