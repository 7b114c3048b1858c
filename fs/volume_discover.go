package fs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ifmatch/fs/vfs"
)

// nestedPlace returns the place that is known for what is in a directory; nil if there is none.
func (s *FS) nestedPlace(dir string, v volume) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.nested {
		if p.volume == v && isIn(dir, p.at) {
			return p
		}
	}
	return nil
}

// findPlace looks upwards from a directory for where its file system begins.
func (s *FS) findPlace(dir string, v volume) (*place, error) {
	at := dir
	for at != "." {
		above, err := s.calls.Lstat(path.Dir(at))
		if err != nil {
			return nil, err
		}
		if volumeOf(above) != v {
			return s.addPlace(at, v), nil
		}
		at = path.Dir(at)
	}
	return s.root, nil
}

// addPlace makes a place known, instead of what was known of another file system that was mounted there.
func (s *FS) addPlace(at string, v volume) *place {
	p := s.newPlace(at, v)
	p.probeAliases() // there may be a state directory of others
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.nested {
		if p.volume == v && p.at == at {
			return p
		}
	}
	s.nested = slices.DeleteFunc(s.nested, func(p *place) bool { return p.at == at })
	s.nested, s.found = append(s.nested, p), true
	return p
}

// dropPlace forgets a place that is not where it was.
func (s *FS) dropPlace(gone *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nested = slices.DeleteFunc(s.nested, func(p *place) bool { return p == gone })
}

// movePlaces takes along what is known of the subvolumes in a directory that was moved.
func (s *FS) movePlaces(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.nested {
		if isIn(p.at, from) {
			moved := s.newPlace(to+strings.TrimPrefix(p.at, from), p.volume)
			moved.aliases.Store(p.aliases.Load())
			s.nested[i], s.found = moved, true
		}
	}
}

// The file of places, beside the lock, has where each was made, quoted, on a line of its own. The table of mounts does not
// tell of subvolumes.
const placesName = "places"

func decodePlaces(data []byte) (at []string) {
	for line := range strings.Lines(string(data)) {
		if name, err := strconv.Unquote(strings.TrimSpace(line)); err == nil && iofs.ValidPath(name) && name != "." {
			at = append(at, name)
		}
	}
	return at
}

// PartOf returns the directory of the operating system that one was served as a part of, when the server made a state
// directory in it; itself, where it is no part of another one.
func PartOf(dir string) string {
	for above := filepath.Dir(dir); ; above = filepath.Dir(above) {
		noted, _ := readNoWait(filepath.Join(above, stateDir, placesName))
		at, err := filepath.Rel(above, dir)
		if err == nil && slices.Contains(decodePlaces(noted), filepath.ToSlash(at)) {
			return above
		}
		if above == filepath.Dir(above) {
			return dir
		}
	}
}

// readNoWait reads a file of the operating system, and waits for nobody who may write to it.
func readNoWait(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|vfs.NoWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// remember notes where a place is, for those who come later.
func (p *place) remember() error {
	data, err := p.ReadState(placesName)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) || slices.Contains(decodePlaces(data), p.at) {
		return err
	}
	f, err := p.calls.Append(stateDir + "/" + placesName)
	if err != nil {
		return err
	}
	defer f.Close()
	p.give(f, stateDir+"/"+placesName)
	// It begins with the end of the line before, in case the power failed in the middle of that.
	if _, err := f.Write(fmt.Appendf(nil, "\n%q\n", p.at)); err != nil {
		return err
	}
	if p.opts.Durability != Full {
		return nil
	}
	return errors.Join(f.Sync(), p.SyncState())
}

// Discover looks for places that processes have made before, and forgets those that are not there any more. It reports
// whether some were found since the last time, in which something may be to be recovered.
func (s *FS) Discover() bool {
	for _, p := range s.places()[1:] {
		info, err := s.calls.Lstat(p.at)
		there := err == nil && volumeOf(info) == p.volume
		if there && p.opened.Load() { // else our session may be about to be made
			// The kernel gives the numbers of what was unmounted to what is mounted next.
			alive, err := s.calls.Lstat(p.session + "/" + aliveName)
			there = err == nil && alive.SameFile(p.staged)
		}
		if !there {
			s.dropPlace(p)
		}
	}
	noted, _ := s.ReadState(placesName)
	mounted, _ := s.calls.Mounts(".")
	for _, at := range append(decodePlaces(noted), mounted...) {
		info, err := s.calls.Lstat(at)
		if err != nil || volumeOf(info) == s.root.volume || s.nestedPlace(at, volumeOf(info)) != nil {
			continue
		}
		p := s.newPlace(at, volumeOf(info))
		if _, err := p.checkFormat(); err != nil {
			continue
		}
		if stage, err := s.calls.Lstat(p.in(stagePart)); err == nil && stage.Kind == Directory && p.isHeld() {
			s.addPlace(at, volumeOf(info))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.found
	s.found = false
	return found
}
