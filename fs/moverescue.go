package fs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"r-seed-1f3a754f.example/ifmatch/fs/metadata"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
)

// rescue writes the replaced version to the history, from the file that was opened before, if that file has no name any
// more.
func (m *MoveNote) rescue(ctx context.Context) error {
	v, f := m.volume, m.over.file
	if f == nil {
		return nil
	}
	traits, info, err := metadata.Of(f)
	if err != nil || info.Links != 0 {
		return err
	}
	failed := func(err error) error {
		return fmt.Errorf("the version that gave way at %q lost its name to a local program, "+
			"and could not be written to the history: %w", m.to, err)
	}
	st, err := v.StageFor(ctx, room.Need{Name: m.to, Length: info.Size})
	if err != nil {
		return failed(err)
	}
	defer st.Discard()
	if _, err = st.Clone(ctx, f, info.Size); errors.Is(err, errors.ErrUnsupported) {
		_, err = io.Copy(st, io.NewSectionReader(f, 0, info.Size))
	}
	if err == nil {
		err = st.Annotate(Meta{Modified: info.ModTime(), Traits: traits})
	}
	if err == nil {
		err = st.Sync()
	}
	if err != nil {
		return failed(err)
	}
	unlock, err := v.Lock(ctx)
	if err != nil {
		return failed(err)
	}
	defer unlock()
	n := m.note()
	n.Always = true
	if n.Seen, err = st.Info(); err == nil {
		_, err = v.history.Archive(st.at.Name, n)
	}
	if err != nil {
		return failed(err)
	}
	st.done = true
	return nil
}
