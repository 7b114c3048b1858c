package notes

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// A Text is one text that all replicas read often and change seldom. It is a note that does not expire, with a version of
// random bytes before the text.
type Text struct {
	table *Table
	key   string
}

// Text returns the text of a key.
func (t *Table) Text(key string) *Text { return &Text{t, key} }

const versionSize = 16

// Read returns the text as it is now, and its version, which is "" where there is none. Where the version is known
// already, there is no text, and the database has not read it.
func (x *Text) Read(ctx context.Context, known string) (text, version string, err error) {
	var value []byte
	err = x.table.one(ctx, &value, `select case when substring(value from 1 for 16) = $3 then $3 else value end
 from ifmatch.note where kind = $1 and key = $2`, []byte(x.key), []byte(known))
	if errors.Is(err, ErrNone) {
		return "", "", nil
	}
	if err != nil || len(value) < versionSize {
		return "", "", err
	}
	return string(value[versionSize:]), string(value[:versionSize]), nil
}

// Edit changes the text in one step for all replicas. If change fails, nothing happens, and its error is returned. After
// another error the text may have been changed or not.
func (x *Text) Edit(ctx context.Context, change func(text string) (string, error)) error {
	return x.table.Update(ctx, []string{x.key}, Forever, func(_ time.Time, values [][]byte) error {
		var before []byte
		if len(values[0]) >= versionSize {
			before = values[0][versionSize:]
		}
		after, err := change(string(before))
		if err != nil {
			return err
		}
		version := make([]byte, versionSize)
		if _, err := rand.Read(version); err != nil {
			return err
		}
		values[0] = bytes.Join([][]byte{version, []byte(after)}, nil)
		return nil
	})
}
