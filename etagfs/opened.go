package etagfs

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	"github.com/spf13/afero"

	"ifmatch/fs"
	"ifmatch/tree"
)

// An opened version of a file, as [tree.Content] has it.
type opened struct {
	s    *Store
	file afero.File
	info fs.Info // the look to which the tag belongs
	tag  tree.ETag
	// stamped: nobody was writing to the file when it was hashed, so whatever has changed since has changed its time stamps
	// first, and a look tells. Otherwise only a hash does.
	stamped bool
}

func (c *opened) Close() error { return c.file.Close() }

// piece is how much the kernel sends between two looks.
const piece = 4 << 20

// chunks are read, and judged, before they are sent.
var chunks = sync.Pool{New: func() any { b := make([]byte, tree.SentAtOnce); return &b }}

// Send implements [tree.Content].
//
// The bytes are of the version if a look after they were read finds it unchanged: by us, or where the kernel sends them, by
// the client. It has read those once as many more have been sent as can be on the way, so as many at the end are copied.
//
// A look that finds a change may have seen that bytes were appended, or a new name or time: if the file does not begin with
// the content of the version any more, that is the end. If it does, looks tell nothing from there on; the bytes are hashed
// as they are sent, together with those before and behind them, and the last ones wait until that is known to be the hash
// of the version.
func (c *opened) Send(ctx context.Context, w io.Writer, offset, length int64) error {
	if c.tag == "" {
		return c.sendRange(w, offset, length)
	}
	kernel, byKernel := w.(tree.KernelWriter)
	var behind int64 = tree.SentAtOnce // what is read, and copied, after the last byte that the kernel sends
	if byKernel {
		behind += kernel.OnTheWay()
	}
	buffer := chunks.Get().(*[]byte)
	defer chunks.Put(buffer)
	j := judge{opened: c}
	if !c.stamped {
		if err := j.begin(ctx, offset); err != nil {
			return err
		}
	}
	for end := offset + length; offset < end; {
		var err error
		if n := min(end-offset-behind, piece); n > 0 && byKernel && j.sum == nil {
			if err = c.sendRange(w, offset, n); err == nil {
				err = j.look(ctx, offset+n)
			}
			offset += n
		} else {
			chunk := (*buffer)[:min(end-offset, tree.SentAtOnce)]
			if err = c.read(chunk, offset); err == nil {
				err = j.look(ctx, offset)
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
		err = tree.ErrChanged
	}
	return translate(err)
}

// A judge says whether bytes that are read one after another are those of a version.
type judge struct {
	*opened
	sum hash.Hash // of all bytes up to there, once looks do not tell; nil until then
}

// look looks at the file after all before an offset has been sent, and what comes next may have been read.
func (j *judge) look(ctx context.Context, offset int64) error {
	if j.sum != nil {
		return nil
	}
	again, err := j.s.refresh(j.file, j.info)
	if err != nil {
		return translate(err)
	}
	if again.Fingerprint == j.info.Fingerprint {
		return nil
	}
	if err := j.begin(ctx, offset); err != nil {
		return err
	}
	all, err := j.sum.(hash.Cloner).Clone()
	if err != nil {
		return err
	}
	return j.end(ctx, all, offset)
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
	n, err := copyBody(ctx, sum, io.NewSectionReader(readerAt{j.s.fs, j.file}, from, to-from))
	if err == nil && n < to-from {
		err = tree.ErrChanged
	}
	return translate(ourFault(err))
}
