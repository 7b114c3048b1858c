package etagfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// An opened version of a file, as [tree.Content] has it.
type opened struct {
	s    *Store
	file *fs.File
	info fs.Info // the look to which the tag belongs
	tag  tree.ETag
	// stamped: nobody was writing to the file when it was hashed, so whatever has changed since has changed its time stamps
	// first, and a look tells. Otherwise only a hash does.
	stamped bool

	captured map[tree.Part][]byte // of what was read while it was hashed
	holds    int64                // so many bytes of that
	letGo    func()               // see Store.reading
}

func (c *opened) Close() error {
	c.letGo()
	c.s.captured.Add(-c.holds)
	return c.file.Close()
}

// What may be captured at once, of one file and of all, in bytes: that is kept until it is sent.
const (
	maxCaptured    = 1 << 20
	maxCapturedAll = 32 << 20
)

// mayCapture reports whether so much may be captured. It is given back by Close.
func (c *opened) mayCapture(total int64) bool {
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

// piece is how much the kernel sends between two looks, at the most and to a client that is slow.
const (
	piece      = 1 << 20
	leastPiece = 64 << 10
	pieceTime  = time.Second / 2
)

// chunkSize is how many bytes are read and judged before any of them is sent.
const chunkSize = 64 << 10

var _ tree.PartedContent = (*opened)(nil)

var chunks = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

// Parts implements [tree.PartedContent]. Where only a hash tells whether a file is what it was, parts that are small are
// taken from the file while it is hashed, once for all who ask for some meanwhile. A single large one is judged as it is
// sent; several would each take a hash of the whole.
func (c *opened) Parts(ctx context.Context, parts []tree.Part) (bool, error) {
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
	how := forAnswer
	for _, p := range parts {
		if captured[p] == nil {
			captured[p] = make([]byte, p.Length)
			how.capture = append(how.capture, &capture{p.Offset, captured[p]})
		}
	}
	info, sum, err := c.s.hashOnce(ctx, c.file, c.info, how)
	switch {
	case errors.Is(err, errChanged) || err == nil && tree.TagOf(sum) != c.tag:
		return false, tree.ErrChanged
	case err != nil:
		return false, translate(err)
	}
	c.info, c.captured = info, captured
	return true, nil
}

// isStamped reports whether looks tell of changes. They do once the program has gone that was writing, and the file was
// hashed.
func (c *opened) isStamped() bool {
	if !c.stamped {
		tag, ok := c.s.index.Tag(c.info.Fingerprint)
		c.stamped = ok && tag == c.tag
	}
	return c.stamped
}

// ReadAt implements [tree.Content]. It judges what it reads as WriteRange does.
func (c *opened) ReadAt(p []byte, offset int64) (int, error) {
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
// The bytes are of the version if a look after they were read finds it unchanged: by us, or where the kernel sends them, by
// the client. It has read those once as many more have been sent as can be on the way, so as many at the end are copied.
//
// A look that finds a change may have seen a new name or time: if the content is the same, looks go on to tell.
// Otherwise, if the file does not begin with the content of the version any more, that is the end. If it does, bytes were
// appended, or a program is writing, and looks tell nothing from there on; the bytes are hashed as they are sent,
// together with those before and behind them, and the last ones wait until that is known to be the hash of the version.
func (c *opened) WriteRange(ctx context.Context, w io.Writer, offset, length int64) (int64, error) {
	counted := &counter{Writer: w}
	_, byKernel := w.(io.ReaderFrom)
	err := c.send(ctx, counted, offset, length, byKernel && c.s.inFlight >= 0)
	return counted.n, err
}

// A counter counts what is written, also by the kernel.
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

func (c *opened) send(ctx context.Context, w io.Writer, offset, length int64, byKernel bool) error {
	if data, ok := c.captured[tree.Part{Offset: offset, Length: length}]; ok {
		_, err := w.Write(data)
		return err
	}
	if c.tag == "" {
		return c.sendRange(w, offset, length)
	}
	behind := chunkSize + c.s.inFlight // what is read, and copied, after the last byte that the kernel sends
	buffer := chunks.Get().(*[]byte)
	defer chunks.Put(buffer)
	j := judge{opened: c, again: readAnew}
	if !c.isStamped() {
		if err := j.begin(ctx, offset); err != nil {
			return err
		}
	}
	size := int64(piece)
	for end := offset + length; offset < end; {
		var err error
		if n := min(end-offset-behind, size); n > 0 && byKernel && j.sum == nil {
			begun := time.Now()
			if err = c.sendRange(w, offset, n); err == nil {
				_, err = j.look(ctx, offset+n)
			}
			offset += n
			size = nextPiece(size, time.Since(begun))
		} else {
			chunk := (*buffer)[:min(end-offset, chunkSize)]
			err = c.readJudged(ctx, &j, chunk, offset)
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

// nextPiece has the kernel send so much that a client reads it in a moment: so one sees how fast it is, and a change in
// time.
func nextPiece(size int64, took time.Duration) int64 {
	if took > pieceTime {
		return max(size/2, leastPiece)
	}
	return min(size*2, piece)
}

// readJudged reads a chunk, anew where the file was found to have another stamp after that, and the same content: the
// chunk may have had another one in between.
func (c *opened) readJudged(ctx context.Context, j *judge, chunk []byte, offset int64) error {
	for {
		if err := c.read(chunk, offset); err != nil {
			return err
		}
		if anew, err := j.look(ctx, offset); err != nil || !anew {
			return err
		}
	}
}

// sendRange sends so many bytes, or fails with ErrChanged where the file has become too short for that.
func (c *opened) sendRange(w io.Writer, offset, n int64) error {
	sent, err := c.s.fs.Send(c.file, w, offset, n)
	if err == nil && sent < n {
		err = tree.ErrChanged
	}
	return err
}

// read fills a chunk, or fails with ErrChanged where the file has become too short for that.
func (c *opened) read(chunk []byte, offset int64) error {
	_, err := c.s.fs.ReadAt(c.file, chunk, offset)
	if err == io.EOF {
		return tree.ErrChanged
	}
	if err != nil { // what was opened may be no file any more, see Store.decideOn
		if now, failed := c.s.refresh(c.file, c.info); failed == nil && !now.SameFile(c.info) {
			return tree.ErrChanged
		}
	}
	return translate(err)
}

// A judge says whether bytes that are read one after another are those of a version.
type judge struct {
	*opened
	sum   hash.Hash // of all bytes up to there, once looks do not tell; nil until then
	again int       // how often the file may be hashed because its stamps have changed
}

// readAnew bounds how often a file is hashed as a whole while one client is sent it.
const readAnew = 2

// look looks at the file after all before an offset has been sent, and what comes next may have been read. anew says that
// this must be read once more: the stamps have changed since, and the content is the same.
func (j *judge) look(ctx context.Context, offset int64) (anew bool, err error) {
	if j.sum != nil {
		return false, nil
	}
	again, err := j.s.refresh(j.file, j.info)
	if err != nil {
		return false, translate(err)
	}
	if again.Fingerprint == j.info.Fingerprint {
		return false, nil
	}
	// What we have renamed or touched ourselves is known. A file that has grown may still begin with the version.
	if tag, ok := j.s.index.Tag(again.Fingerprint); ok && again.Size <= j.info.Size {
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

// hashAnew hashes the file, once for all to whom it is being sent, and reports whether it is the version, and looks tell
// of it.
func (j *judge) hashAnew(ctx context.Context, look fs.Info) (bool, error) {
	info, tag, err := j.s.hashFile(ctx, j.file, look, forAnswer)
	switch {
	case errors.Is(err, tree.ErrBusy):
		return false, nil
	case err != nil:
		return false, err
	case info.Size > j.info.Size:
		return false, nil // it has grown, and may still begin with the version
	case tag != j.tag:
		return false, tree.ErrChanged
	}
	known, ok := j.s.index.Tag(info.Fingerprint)
	if !ok || known != tag {
		return false, nil // a program is writing
	}
	j.info = info
	return true, nil
}

// begin begins to hash what is sent, with all that comes before.
func (j *judge) begin(ctx context.Context, offset int64) error {
	j.sum = sha256.New()
	return j.add(ctx, j.sum, 0, offset)
}

// judge judges the next bytes, which end before an offset: once looks do not tell, only when the last are known.
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

// end adds to a hash what comes after an offset, and fails with ErrChanged if it is not that of the version then.
func (j *judge) end(ctx context.Context, sum hash.Hash, offset int64) error {
	if err := j.add(ctx, sum, offset, j.info.Size); err != nil {
		return err
	}
	if tree.TagOf([sha256.Size]byte(sum.Sum(nil))) != j.tag {
		return tree.ErrChanged
	}
	return nil
}

// add adds to a hash what the file has now between two offsets.
func (j *judge) add(ctx context.Context, sum hash.Hash, from, to int64) error {
	end, err := j.s.turnToHash(ctx, to-from, hashPatience)
	if err != nil {
		return err
	}
	defer end()
	n, err := copyBody(ctx, sum, io.NewSectionReader(readerAt{j.s.fs, j.file}, from, to-from))
	if err == nil && n < to-from {
		err = tree.ErrChanged
	}
	return translate(ourFault(err))
}
