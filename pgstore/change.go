package pgstore

import (
	"time"

	"github.com/google/uuid"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Causes of changes besides the names of methods.
const causeRestore = "restore"

func baseOf(name string) []byte {
	_, base := tree.Split(name)
	return []byte(base)
}

// tell adds a change of a name to the feed. A nil node means that nothing is there then. was is the node that was there before.
func (t *transaction) tell(cause, name, from string, was, is *node) {
	var source, sum, old []byte
	if from != "" {
		source = []byte(from)
	}
	if was.isFile() {
		old = was.sum
	}
	dir := false
	if is != nil {
		sum, dir = is.sum, is.kind == kindDir
	}
	t.log(true, cause, []byte(name), source, is != nil, dir, !was.there, was.isFile(), old, sum)
}

// mark adds a row that no follower sees, by which an attempt finds out whether it has committed.
func (t *transaction) mark(cause, name string) {
	t.log(false, cause, []byte(name), nil, true, false, false, false, nil, nil)
}

func (t *transaction) log(
	told bool, cause string, path, source []byte, present, dir, created, oldFile bool, old, sum []byte,
) {
	t.do(`insert into ifmatch.change (id, at, told, cause, path, source, present, collection, created, old_file, old_sha256,
 sha256, principal) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		t.id, t.view.now.UnixNano(), told, cause, path, source, present, dir, created, oldFile, old, sum, t.principal())
}

func (t *transaction) principal() string { return string(tree.PrincipalOf(t.ctx)) }

// archive moves the node at a name to the history. A file that is replaced by an update keeps its row.
func (t *transaction) archive(name string, n *node, cause string, keepRow bool) {
	base := baseOf(name)
	if n.kind == kindFile {
		if t.store.opts.NoHistory {
			t.discard(n)
		} else {
			t.do(`insert into ifmatch.version (size, modified, created, gone, blob, kind, place, cause, executable, path, sha256,
 props, principal) select size, modified, created, $3, blob, kind, place, $4, executable, $5, sha256, props, $6
 from ifmatch.node where parent = $1 and name = $2`, n.parent, base, t.view.now, cause, []byte(name), t.principal())
		}
		if !keepRow {
			t.do("delete from ifmatch.node where parent = $1 and name = $2", n.parent, base)
		}
		return
	}
	gone := t.view.now
	if t.store.opts.NoHistory {
		gone = time.Unix(0, 0) // the next run of the janitor removes it
	}
	t.do(`with v as (insert into ifmatch.version (size, modified, created, gone, kind, cause, executable, path, props, principal)
 select 0, modified, created, $3, kind, $4, false, $5, props, $6 from ifmatch.node where parent = $1 and name = $2
 returning id)
 update ifmatch.node set parent = -(select id from v) where parent = $1 and name = $2`,
		n.parent, base, gone, cause, []byte(name), t.principal())
}

// discard notes that the content of a node may be garbage.
func (t *transaction) discard(n *node) {
	t.do("insert into ifmatch.dead (blob, place, since) values ($1, $2, $3)"+noted,
		*n.blob, n.place, t.view.now)
}

// leave notes the dates of a name at which nothing is from now on.
func (t *transaction) leave(name string, n *node) {
	left := n.leaving(n.kind == kindFile, t.now)
	first, last := columns(left.Ahead)
	t.do(`insert into ifmatch.gone (parent, name, earlier, below, ahead_first, ahead_last, at)
 values ($1, $2, $3, $4, $5, $6, $7)`,
		n.parent, baseOf(name), orNull(left.Earlier), orNull(left.below), first, last, t.view.now)
}

// come takes the dates of a name over at which nothing was, and returns those of a new version there.
func (t *transaction) come(name string, over *node) dates {
	if !over.there {
		t.do("delete from ifmatch.gone where parent = $1 and name = $2", over.parent, baseOf(name))
	}
	d := noDates()
	d.Sent, d.floor = over.others(over.isFile(), t.now), over.floor
	if d.below = over.below; over.isDir() {
		d.below = max(d.below, t.now+1)
	}
	d.since = t.now
	d.modified = d.Next(t.now)
	return d
}

// dated gives a version the date that a client wants, if it wants one.
func (t *transaction) dated(d *dates, wanted time.Time) {
	if wanted.IsZero() {
		return
	}
	d.modified = wanted.Unix()
	t.raise(d.modified)
}

// raise notes a date, if it is the latest one in the future. It is rounded up to a day, so that the one row for it is
// written seldom.
func (t *transaction) raise(second int64) {
	const day = 24 * 60 * 60
	if second > t.now && second > t.latest {
		t.do(`update ifmatch.node set ahead_last = $1, ahead_first = coalesce(ahead_first, $2)
 where parent = 0 and name = '' and (ahead_last is null or ahead_last < $1)`, second+day-second%day, t.now)
	}
}

// insert makes the row of a node.
func (t *transaction) insert(name string, n *node) {
	first, last := columns(n.Ahead)
	var blob *uuid.UUID
	var place *string
	if n.kind == kindFile {
		blob, place = n.blob, &n.place
	}
	t.do(`insert into ifmatch.node (parent, name, form, kind, size, modified, since, earlier, below, ahead_first, ahead_last,
 created, blob, place, sha256, executable, props)
 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		n.parent, baseOf(name), formOf(string(baseOf(name))), n.kind, n.size, n.modified, orNull(n.since), orNull(n.Earlier),
		orNull(n.below), first, last, n.created, blob, place, n.sum, n.executable, n.props)
}

// endLocks ends the locks below a name and, if itself is true, on that name.
func (t *transaction) endLocks(name string, itself bool) {
	if len(t.locks.About(name)) == 0 {
		return
	}
	low, high := belowRange(name)
	t.do(`delete from ifmatch.davlock where substring(root from 1 for 500) between substring($1::bytea from 1 for 500)
 and substring($2::bytea from 1 for 500) and root >= $1 and root < $2`, low, high)
	if itself {
		t.do("delete from ifmatch.davlock where root = $1", []byte(name))
	}
}

// arrived ends the locks on former members of a name. A lock on the name itself stays, and tells whether that is a collection.
func (t *transaction) arrived(name string, dir bool) {
	t.endLocks(name, false)
	for _, l := range t.locks.Covering(name) {
		if l.Root == name && l.Collection != dir {
			t.do("update ifmatch.davlock set collection = $2 where root = $1", []byte(name), dir)
			return
		}
	}
}
