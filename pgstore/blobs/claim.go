package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"

	"github.com/google/uuid"
)

// A prober has more to try than objects.
type prober interface{ probe(context.Context) error }

// A claimable place remembers whose it is.
type claimable interface{ claimed(tree ID) }

// ErrEmpty says that a place has no object, and that the tree has another one. A disk that is not mounted looks like
// that.
var ErrEmpty = errors.New("it is empty, and the tree has another place: mount it, or name the one that the other " +
	"servers have; if that is lost, ifmatch cluster init takes the empty one")

// Claim makes a place that of one tree. The object with the identifier of the tree says so, and a place that has
// objects, and not this one, is another's. Then Claim tries all that the place is needed for.
func Claim(ctx context.Context, s Store, tree ID) error {
	if err := claim(ctx, s, tree, false); err != nil {
		return err
	}
	return probe(ctx, s)
}

// Recognize is [Claim] of the place that a tree has already. An empty one is refused with [ErrEmpty].
func Recognize(ctx context.Context, s Store, tree ID) error {
	if err := Belongs(ctx, s, tree); err != nil {
		return err
	}
	return probe(ctx, s)
}

// Belongs is [Recognize] without a try: it writes nothing.
func Belongs(ctx context.Context, s Store, tree ID) error { return claim(ctx, s, tree, true) }

func claim(ctx context.Context, s Store, tree ID, known bool) error {
	mark := []byte(tree.String())
	found, err := read(ctx, s, tree, int64(len(mark)))
	switch {
	case err == nil && !bytes.Equal(found, mark), errors.Is(err, ErrDamaged):
		return fmt.Errorf("the object %s, which says that the place belongs to this database, has other bytes: "+
			"if it is the right place, remove that object, and start again", tree)
	case errors.Is(err, iofs.ErrNotExist):
		for other, err := range s.List(ctx) {
			if err != nil {
				return fmt.Errorf("it cannot be listed: %w", err)
			}
			return fmt.Errorf("it belongs to another database: it has the object %s, and not that of this one, %s",
				other, tree)
		}
		if known {
			return ErrEmpty
		}
		if err := write(ctx, s, tree, mark); err != nil && !errors.Is(err, iofs.ErrExist) { // another replica was first
			return fmt.Errorf("it cannot be written: %w", err)
		}
	case err != nil:
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if s, ok := s.(claimable); ok {
		s.claimed(tree)
	}
	return nil
}

// probe writes an object, reads it, reads a part of it, and deletes it.
func probe(ctx context.Context, s Store) error {
	id := uuid.New()
	text := bytes.Repeat(id[:], 64)
	err := write(ctx, s, id, text)
	if err != nil {
		return fmt.Errorf("it cannot be written: %w", errors.Join(err, s.Discard(context.WithoutCancel(ctx), id)))
	}
	found, err := read(ctx, s, id, int64(len(text)))
	if err == nil && !bytes.Equal(found, text) {
		err = ErrDamaged
	}
	if err == nil {
		found, err = readPart(ctx, s, id, int64(len(text)), 100, 50)
	}
	if err == nil && !bytes.Equal(found, text[100:150]) {
		err = errors.New("a range has other bytes than were asked for")
	}
	if err != nil {
		err = fmt.Errorf("it does not give back what was written: %w", err)
	}
	if failed := s.Delete(context.WithoutCancel(ctx), id); failed != nil {
		return errors.Join(err, fmt.Errorf("an object cannot be deleted: %w", failed))
	}
	if err != nil {
		return err
	}
	if _, err := read(ctx, s, id, int64(len(text))); !errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("an object that was deleted is still there: error %w", err)
	}
	if s, ok := s.(prober); ok {
		return s.probe(ctx)
	}
	return nil
}

func read(ctx context.Context, s Store, id ID, size int64) ([]byte, error) {
	return readPart(ctx, s, id, size, 0, size)
}

func readPart(ctx context.Context, s Store, id ID, size, offset, n int64) ([]byte, error) {
	r, err := s.Open(ctx, id, size, offset, n)
	if err != nil {
		return nil, err
	}
	found, err := io.ReadAll(r)
	return found, errors.Join(err, r.Close())
}

func write(ctx context.Context, s Store, id ID, text []byte) error {
	w, err := s.Create(ctx, id, int64(len(text)))
	if err != nil {
		return err
	}
	if _, err = w.Write(text); err == nil {
		err = w.Commit(ctx, sha256.Sum256(text))
	}
	if err != nil {
		return errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
	}
	return nil
}
