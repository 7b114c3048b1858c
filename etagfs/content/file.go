package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A File is an opened version of a file. It implements [tree.Content].
type File struct {
	s    *Server
	file *vfs.File
	info vfs.Info // the look to which the tag belongs
	tag  tree.ETag
	// stamped says that no program was writing to the file when it was hashed. So every later change of the content has
	// changed the time stamps first, and a look shows it. Otherwise only a hash shows it.
	stamped bool

	captured map[tree.Part][]byte // the parts that were read while the file was hashed
	holds    int64                // the number of bytes in captured
	counted  hashing.FileKey      // see downloads
	closed   atomic.Bool
}

// Close implements [tree.Content].
func (c *File) Close() error {
	if !c.closed.Swap(true) {
		c.s.downloads.end(c.counted)
		c.s.captured.Add(-c.holds)
	}
	return c.file.Close()
}

// The bytes that may be captured at once, of one file and of all files. They stay in memory until they are sent.
const (
	maxCaptured    = 1 << 20
	maxCapturedAll = 32 << 20
)

// mayCapture reports whether total bytes may be captured, and reserves them. Close gives them back.
func (c *File) mayCapture(total int64) bool {
	if total > maxCaptured || c.holds > 0 {
		return false
	}
	if c.s.captured.Add(total) > maxCapturedAll {
		c.s.captured.Add(-total)
		return false
	}
	c.holds = total
	return true
}

// piece is the maximum number of bytes that the kernel sends between two looks, and leastPiece is the number that it
// sends to a slow client. pieceTime is the time above which a client counts as slow.
const (
	piece      = 1 << 20
	leastPiece = 64 << 10
	pieceTime  = time.Second / 2
)

// ChunkSize is how many bytes are read and judged before any of them is sent.
const ChunkSize = 64 << 10

var _ tree.PartedContent = (*File)(nil)

var chunks = sync.Pool{New: func() any { b := make([]byte, ChunkSize); return &b }}

// Parts implements [tree.PartedContent]. If only a hash shows whether a file is still the version, small parts are
// copied from the file while it is hashed. All requests that ask for parts meanwhile share one hash. A single large
// part is judged while it is sent. Several large parts would each need a hash of the whole file.
func (c *File) Parts(ctx context.Context, parts []tree.Part) (bool, error) {
	if c.tag == "" || c.isStamped() {
		return true, nil
	}
	var total int64
	for _, p := range parts {
		total += p.Length
	}
	if !c.mayCapture(total) {
		return len(parts) == 1, nil
	}
	captured := map[tree.Part][]byte{}
	how := hashing.ForAnswer
	for _, p := range parts {
		if captured[p] == nil {
			captured[p] = make([]byte, p.Length)
			how.Capture = append(how.Capture, &hashing.Capture{Offset: p.Offset, Data: captured[p]})
		}
	}
	info, sum, err := c.s.Hasher.HashOnce(ctx, c.file, c.info, how)
	switch {
	case errors.Is(err, hashing.ErrChanged) || err == nil && tree.TagOf(sum) != c.tag:
		return false, tree.ErrChanged
	case err != nil:
		return false, failure.Of(err)
	}
	c.info, c.captured = info, captured
	return true, nil
}

// isStamped reports whether looks show changes of the file. They do after the program that was writing has gone, and
// the file was hashed.
func (c *File) isStamped() bool {
	if !c.stamped {
		tag, ok := c.s.Index.Tag(c.info.Fingerprint)
		c.stamped = ok && tag == c.tag
	}
	return c.stamped
}

// ReadAt implements [tree.Content]. It judges the bytes that it reads as WriteRange does.
func (c *File) ReadAt(p []byte, offset int64) (int, error) {
	n := min(int64(len(p)), max(c.info.Size-offset, 0))
	read := bytes.NewBuffer(p[:0])
	_, err := c.WriteRange(context.Background(), struct{ io.Writer }{read}, offset, n)
	if err == nil && n < int64(len(p)) {
		err = io.EOF
	}
	return read.Len(), err
}

// WriteRange implements [tree.Content].
//
// The bytes belong to the version if a look after they were read finds the file unchanged. The server reads them
// itself, or, if the kernel sends them, the client reads them: see tail.
//
// A look that finds a change may have seen only a new name or a new time. If the content is the same, later looks still
// show changes. Otherwise, if the file no longer begins with the content of the version, WriteRange fails. If the file
// does, bytes were appended or a program is writing, and later looks show nothing. From there on WriteRange hashes the
// bytes while it sends them, together with the bytes before and behind them. It holds back the last bytes until the
// hash is known to be that of the version.
func (c *File) WriteRange(ctx context.Context, w io.Writer, offset, length int64) (int64, error) {
	counted := &counter{Writer: w}
	var t *tail
	if _, ok := w.(io.ReaderFrom); ok && c.s.InFlight >= 0 {
		drain, _ := w.(tree.Drain)
		t = &tail{drain: drain, inFlight: c.s.InFlight, relayed: c.s.Relayed}
	}
	err := c.send(ctx, counted, offset, length, t)
	return counted.n, err
}

// A counter counts the bytes that are written, including those that the kernel writes.
type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(c.Writer, src)
	c.n += n
	return n, err
}

// send is WriteRange. The kernel sends nothing if t is nil.
func (c *File) send(ctx context.Context, w io.Writer, offset, length int64, t *tail) error {
	if data, ok := c.captured[tree.Part{Offset: offset, Length: length}]; ok {
		_, err := w.Write(data)
		return err
	}
	if c.tag == "" {
		return c.sendRange(w, offset, length)
	}
	buffer := chunks.Get().(*[]byte)
	defer chunks.Put(buffer)
	j := judge{File: c, again: readAnew}
	if !c.isStamped() {
		if err := j.begin(ctx, offset); err != nil {
			return err
		}
	}
	size := int64(piece)
	for end := offset + length; offset < end; {
		var err error
		n := int64(0)
		if t != nil && j.sum == nil {
			n = min(t.byKernel(end-offset), size)
		}
		if n > 0 {
			begun := time.Now()
			if err = c.sendRange(w, offset, n); err == nil {
				_, err = j.look(ctx, offset+n)
			}
			offset += n
			t.sent = offset
			size = nextPiece(size, time.Since(begun))
		} else {
			chunk := (*buffer)[:min(end-offset, ChunkSize)]
			if t != nil && offset+int64(len(chunk)) == end {
				err = t.beforeLast(ctx, offset)
			}
			if err == nil {
				err = c.readJudged(ctx, &j, chunk, offset)
			}
			offset += int64(len(chunk))
			if err == nil {
				err = j.judge(ctx, chunk, offset, offset == end)
			}
			if err == nil {
				_, err = w.Write(chunk)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nextPiece returns the size of the next piece, such that the client reads it in a short time. So the server notices
// how fast the client is, and finds a change of the file in time.
func nextPiece(size int64, took time.Duration) int64 {
	if took > pieceTime {
		return max(size/2, leastPiece)
	}
	return min(size*2, piece)
}

// readJudged reads a chunk. If a look after that finds the file with another stamp and the same content, readJudged
// reads the chunk again, because the file may have had other content in between.
func (c *File) readJudged(ctx context.Context, j *judge, chunk []byte, offset int64) error {
	for {
		if err := c.read(chunk, offset); err != nil {
			return err
		}
		if anew, err := j.look(ctx, offset); err != nil || !anew {
			return err
		}
	}
}

// sendRange sends n bytes. It fails with ErrChanged if the file has become too short for them.
func (c *File) sendRange(w io.Writer, offset, n int64) error {
	sent, err := c.file.SendTo(w, offset, n)
	if err == nil && sent < n {
		err = tree.ErrChanged
	}
	return err
}

// read fills a chunk. It fails with ErrChanged if the file has become too short for the chunk.
func (c *File) read(chunk []byte, offset int64) error {
	_, err := c.file.ReadAt(chunk, offset)
	if err == io.EOF {
		return tree.ErrChanged
	}
	if err != nil { // the opened name may have stopped being a file, see [Server]
		if now, failed := c.s.Hasher.Refresh(c.file, c.info); failed == nil && !now.SameFile(c.info) {
			return tree.ErrChanged
		}
	}
	return failure.Of(err)
}

// A judge decides whether bytes that are read one after another belong to a version.
type judge struct {
	*File
	sum   hash.Hash // the hash of all bytes up to there, once looks show nothing, and nil before
	again int       // how often the file may still be hashed because its stamps have changed
}

// readAnew bounds how often a whole file is hashed while it is sent to one client.
const readAnew = 2

// look looks at the file after all bytes before an offset have been sent. The next bytes may already have been read.
// anew says that these must be read again: the stamps have changed since, and the content is the same.
func (j *judge) look(ctx context.Context, offset int64) (anew bool, err error) {
	if j.sum != nil {
		return false, nil
	}
	again, err := j.s.Hasher.Refresh(j.file, j.info)
	if err != nil {
		return false, failure.Of(err)
	}
	if again.Fingerprint == j.info.Fingerprint {
		return false, nil
	}
	// The index knows the tag if this server has renamed or touched the file. A file that has grown may still begin
	// with the content of the version.
	if tag, ok := j.s.Index.Tag(again.Fingerprint); ok && again.Size <= j.info.Size {
		if tag != j.tag {
			return false, tree.ErrChanged
		}
		j.info = again
		return true, nil
	}
	if again.Size == j.info.Size && j.again > 0 {
		j.again--
		if same, err := j.hashAnew(ctx, again); same || err != nil {
			return same, err
		}
	}
	if err := j.begin(ctx, offset); err != nil {
		return false, err
	}
	all, err := j.sum.(hash.Cloner).Clone()
	if err != nil {
		return false, err
	}
	return false, j.end(ctx, all, offset)
}

// hashAnew hashes the file, once for all clients to which it is being sent. It reports whether the file is the version,
// and looks show changes of it.
func (j *judge) hashAnew(ctx context.Context, look vfs.Info) (bool, error) {
	info, tag, err := j.s.Hasher.HashFile(ctx, j.file, look, hashing.ForAnswer)
	switch {
	case errors.Is(err, tree.ErrBusy):
		return false, nil
	case err != nil:
		return false, err
	case info.Size > j.info.Size:
		return false, nil // the file has grown, and may still begin with the content of the version
	case tag != j.tag:
		return false, tree.ErrChanged
	}
	known, ok := j.s.Index.Tag(info.Fingerprint)
	if !ok || known != tag {
		return false, nil // a program is writing
	}
	j.info = info
	return true, nil
}

// begin starts the hash of the bytes that are sent, with all bytes before the offset.
func (j *judge) begin(ctx context.Context, offset int64) error {
	j.sum = sha256.New()
	return j.add(ctx, j.sum, 0, offset)
}

// judge judges the next bytes, which end at the offset end. Once looks show nothing, it can judge only when the last
// bytes are known.
func (j *judge) judge(ctx context.Context, chunk []byte, end int64, last bool) error {
	if j.sum == nil {
		return nil
	}
	j.sum.Write(chunk)
	if !last {
		return nil
	}
	return j.end(ctx, j.sum, end)
}

// end adds the bytes after an offset to a hash. It fails with ErrChanged if the result is not the hash of the version.
func (j *judge) end(ctx context.Context, sum hash.Hash, offset int64) error {
	if err := j.add(ctx, sum, offset, j.info.Size); err != nil {
		return err
	}
	if tree.TagOf([sha256.Size]byte(sum.Sum(nil))) != j.tag {
		return tree.ErrChanged
	}
	return nil
}

// add adds the present bytes of the file between two offsets to a hash.
func (j *judge) add(ctx context.Context, sum hash.Hash, from, to int64) error {
	end, err := j.s.Hasher.Turn(ctx, to-from, hashing.Patience)
	if err != nil {
		return err
	}
	defer end()
	n, err := hashing.CopyBody(ctx, sum, io.NewSectionReader(j.file, from, to-from))
	if err == nil && n < to-from {
		err = tree.ErrChanged
	}
	return failure.Of(err)
}
