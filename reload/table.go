package reload

import (
	"errors"
	"strings"
)

// A Table is a configuration file, which is read again when it changes.
type Table struct {
	File string
	Read func() (text string, err error) // must be bounded
	Now  string                          // the text that was read last
	// Judge returns a function that takes over the settings of a text that can change while the server runs, and the
	// names of the changed settings that wait for the next start.
	Judge func(text string) (take func(), waiting []string, err error)

	seen string // the text at the last look
}

// A change is a text that can be taken over.
type change struct {
	take    func()
	waiting []string
}

// read returns the text of the file, or the reason why there is none.
func (t *Table) read() string {
	if t == nil {
		return ""
	}
	text, err := t.Read()
	if err != nil {
		return unread + err.Error()
	}
	return text
}

// unread begins the text in place of a file that cannot be read.
const unread = "\x00"

// look reads the file if it has changed, and two looks have found it alike, or in any case if forced. It returns nil if
// there is nothing new. A file that cannot be used is an error, once for each change.
func (t *Table) look(forced bool) (*change, error) {
	if t == nil {
		return nil, nil
	}
	text := t.read()
	settled := text == t.seen
	t.seen = text
	if !forced && (text == t.Now || !settled) {
		return nil, nil
	}
	t.Now = text
	if reason, bad := strings.CutPrefix(text, unread); bad {
		return nil, errors.New(reason)
	}
	take, waiting, err := t.Judge(text)
	if err != nil {
		return nil, err
	}
	return &change{take, waiting}, nil
}
