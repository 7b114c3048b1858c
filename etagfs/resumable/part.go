package resumable

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Append implements [tree.Upload].
func (u *upload) Append(ctx context.Context, body io.Reader, opts tree.AppendOptions) error {
	if u.rec.Tag != "" {
		return fmt.Errorf("the upload is complete: %w", tree.ErrUnsupported)
	}
	err := u.file.Begin(ctx, u.rec.Offset, room.Need{Name: u.rec.Name, Client: tree.ClientOf(ctx),
		Length: u.rec.Length - u.rec.Offset, Ask: func() error { return u.all.Store.Try(ctx, opts.Cond) }})
	if errors.Is(err, fs.ErrDamaged) {
		return fmt.Errorf("%w: %w", tree.ErrNotExist, err)
	}
	if err != nil {
		return failure.OfStaging(err)
	}
	start := u.rec
	p := &part{u: u, kept: start, opts: opts}
	left := u.rec.Length - u.rec.Offset
	n, err := hashing.ReceiveBody(ctx, p, io.LimitReader(body, left+1), -1)
	if err == nil && n > left || p.over {
		err = &tree.BodyError{Err: fmt.Errorf("it has more than the %d bytes that are left of the upload", left)}
	} else if err == nil && opts.Verify != nil {
		err = opts.Verify()
	} else if p.lost {
		return failure.Of(err)
	} else if opts.Verify == nil {
		return errors.Join(failure.Of(err), p.save())
	}
	if err == nil {
		return p.save()
	}
	// None of the bytes count.
	u.rec.Offset = start.Offset
	failed := u.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(start.Hash)
	return errors.Join(failure.Of(err), failed, failure.OfStaging(u.file.Rewind(start.Offset, p.written)), u.write())
}

// A part writes the bytes of one Append.
type part struct {
	u       *upload
	opts    tree.AppendOptions // with a Verify none of the bytes count before they are verified
	written int64
	kept    record // that of the last checkpoint
	over    bool   // there are more bytes than the upload has
	lost    bool   // a checkpoint has failed
}

func (p *part) Write(b []byte) (int, error) {
	u := p.u
	if int64(len(b)) > u.rec.Length-u.rec.Offset {
		p.over = true
		return 0, io.ErrShortWrite
	}
	n, err := u.file.Staged().Write(b)
	u.sum.Write(b[:n])
	u.rec.Offset += int64(n)
	p.written += int64(n)
	if err == nil && p.opts.Verify == nil && u.rec.Offset-p.kept.Offset >= Checkpoint {
		err = p.save()
	}
	return n, err
}

// save makes the bytes that were written durable, and then says so in the record. Where it fails, the upload is as far
// as the last checkpoint again: a second sync of the same bytes would succeed, although they may be lost.
func (p *part) save() error {
	u := p.u
	err := failure.OfStaging(u.file.Sync())
	if err == nil {
		if p.opts.Expires != nil {
			u.rec.Expires = p.opts.Expires()
		}
		err = u.write()
	}
	if err != nil {
		p.lost, u.rec = true, p.kept
		return errors.Join(err, u.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.rec.Hash))
	}
	p.kept = u.rec
	return nil
}
