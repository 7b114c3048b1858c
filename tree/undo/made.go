package undo

import (
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// matches reports whether a resource on the disk is the one that a change has made.
func (r *replay) matches(name string, info Info, c tree.Change) (bool, error) {
	switch {
	case c.State.Collection:
		return info.Kind == Collection, nil
	case info.Kind == Collection:
		return false, nil
	case info.Kind == Link:
		return c.State.Tag == "" && info.Changed <= c.Time.Add(time.Second).UnixNano(), nil
	case c.Cause == "LOCK":
		return info.Size == 0, nil
	case c.State.Tag == "":
		// The ETag was not known, as it may be at a MOVE. The rename has set the time of change.
		return info.Changed <= c.Time.Add(time.Second).UnixNano(), nil
	}
	tag, err := r.disk.Tag(r.ctx, name, info)
	return tag == c.State.Tag, err
}

// latest returns our latest change of a name before the event i that was made. The process may have died between the
// entry of a change in the journal and the change.
func (r *replay) latest(name string, i int, to ref, info Info) (e event, ok bool, err error) {
	for ok = true; ok && err == nil; {
		var never bool
		if e, i, ok = r.line.before(name, i); !ok {
			break
		}
		if never, err = r.wasNeverMade(e, name, to, info); err == nil && !never {
			break
		}
	}
	return e, ok, err
}

// wasNeverMade reports whether a name is still as it was before a change: on the disk, or in the version that has given
// way later. info is the result of a look at the name.
func (r *replay) wasNeverMade(e event, name string, to ref, info Info) (bool, error) {
	switch {
	case e.kept != nil:
		return false, nil
	case e.From != "":
		return r.wasNeverMoved(e)
	case to.kind == kept:
		return r.wasKeptBefore(e, to)
	case to.kind != live:
		return false, nil
	case !info.Exists():
		return e.Created, nil
	case !e.State.Exists:
		return info.Changed <= e.Time.UnixNano(), nil
	case e.Created, e.Old == "":
		return false, nil
	}
	if ours, err := r.matches(to.name, info, e.Change); err != nil || ours {
		return false, err
	}
	was := e.Change
	was.State.Tag = e.Old
	return r.matches(to.name, info, was)
}

// wasKeptBefore is [replay.wasNeverMade] for a name that stands for a version in the history.
func (r *replay) wasKeptBefore(e event, to ref) (bool, error) {
	k, there, err := r.version(to)
	switch {
	case err != nil:
		return false, err
	case !there:
		return e.Created, nil
	case e.Created, e.isSame():
		return false, nil
	case e.Old != "" && k.Kind == File:
		tag, err := r.disk.TagKept(r.ctx, k)
		return tag == e.Old, err
	}
	return !e.State.Exists && wasBornBefore(k.Info, e), nil
}

// wasNeverMoved is [replay.wasNeverMade] for a MOVE. Its source is there, unless the rename was made. After a rename
// something else can only be there if a program has made it, because changes of ours after the MOVE are undone before
// it.
func (r *replay) wasNeverMoved(e event) (bool, error) {
	_, to := r.model.at(e.Name)
	_, from := r.model.at(e.From)
	there, err := r.is(to)
	if err != nil {
		return false, err
	}
	before, err := r.is(from)
	if err != nil || !before || !there {
		return before, err
	}
	source, err := r.info(from)
	switch {
	case err != nil:
		return false, err
	case e.Created, e.kept != nil:
		return false, nil
	case e.State.Tag == "" || source.Kind != File:
		return wasBornBefore(source, e), nil
	}
	tag, err := r.tag(from, source)
	return tag == e.State.Tag, err
}

// wasBornBefore reports whether a resource was made before a change. False: that is not known.
func wasBornBefore(info Info, e event) bool {
	return info.Born != 0 && info.Born <= e.Time.UnixNano()
}

// cameWith reports whether what the watcher has seen at a name has come there with a collection above it, at a time. A
// later change of ours has set the time of change of the file, so the other two times count. That is weaker, because a
// program can set the time of the content. So the content must have been known when the watcher told of it, and the
// watcher must have told shortly after the collection has come.
func cameWith(above time.Time, e event, info Info) bool {
	then := above.UnixNano()
	return !above.IsZero() && e.State.Tag != "" && e.Time.Sub(above) <= EchoTime &&
		info.Kind == File && info.Born <= then && info.Modified <= then
}
