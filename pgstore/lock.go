package pgstore

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Bounds of WebDAV locks. A write reads those on the names that it is about.
const (
	maxOwner      = 8 << 10 // bytes of DAV:owner
	maxLocks      = 4096    // of all clients
	maxHolderLock = 1024    // of one client
)

// Lock implements [tree.Store].
func (s *Store) Lock(
	ctx context.Context, req tree.LockRequest, cond tree.Condition,
) (lock tree.Lock, created bool, err error) {
	if len(req.Owner) > maxOwner {
		return tree.Lock{}, false, &tree.StorageError{Kind: tree.ErrNoSpace,
			Hint: "the owner of a lock is longer than 8 KiB; shorten it"}
	}
	name, holder := req.Root, tree.ClientOf(ctx)
	var all, own int64
	count := func(b *pgx.Batch) []func(pgx.Rows) error {
		b.Queue(`select count(*), count(*) filter (where holder = $1) from ifmatch.davlock where expires > coalesce($2, now())`,
			holder, s.clock())
		return []func(pgx.Rows) error{func(rows pgx.Rows) error {
			for rows.Next() {
				if err := rows.Scan(&all, &own); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	step := func(t *transaction) error {
		n, err := t.target(name)
		if err != nil {
			return err
		}
		if err := t.ask(); err != nil {
			return err
		}
		if all >= maxLocks || own >= maxHolderLock {
			return &tree.StorageError{Kind: tree.ErrNoSpace,
				Hint: "there are too many locks; end some, or wait until they expire"}
		}
		lock = req.Lock(ctx, "urn:uuid:"+uuid.NewString(), t.view.now)
		lock.Collection = n.isDir()
		if err := t.locks.Admit(lock); err != nil {
			return err
		}
		if created = !n.there; created {
			file := t.emptyFile(name, n)
			t.insert(name, file)
			t.tell("LOCK", name, "", n, file)
		} else {
			t.mark("LOCK", name)
		}
		t.do(`insert into ifmatch.davlock (token, root, collection, infinite, shared, owner, holder, principal, expires)
 values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, lock.Token, []byte(name), lock.Collection, lock.Infinite, lock.Shared,
			[]byte(lock.Owner), lock.Holder, string(lock.Principal), lock.Expires)
		return nil
	}
	err = s.update(ctx, write{names: []string{name}, cond: cond, more: count, step: step})
	if err != nil {
		return tree.Lock{}, false, err
	}
	return lock, created, nil
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(
	ctx context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (lock tree.Lock, err error) {
	err = s.holding(ctx, name, tokens, cond, func(t *transaction, l tree.Lock) {
		l.Expires = t.view.now.Add(timeout)
		t.do("update ifmatch.davlock set expires = $2 where token = $1", l.Token, l.Expires)
		lock = l
	})
	return lock, err
}

// Unlock implements [tree.Store].
func (s *Store) Unlock(ctx context.Context, name, token string, cond tree.Condition) error {
	return s.holding(ctx, name, []string{token}, cond, func(t *transaction, l tree.Lock) {
		t.do("delete from ifmatch.davlock where token = $1", l.Token)
	})
}

// holding changes the lock that covers a name and has one of the tokens.
func (s *Store) holding(
	ctx context.Context, name string, tokens []string, cond tree.Condition, change func(*transaction, tree.Lock),
) error {
	step := func(t *transaction) error {
		if err := t.ask(); err != nil {
			return err
		}
		l, err := t.locks.Held(name, tokens...)
		if err != nil {
			return about(name, err)
		}
		if !t.isExclusive(l.Root) {
			return &exclusiveError{l.Root} // writes below it may be deciding by this lock now
		}
		change(t, l)
		t.mark("LOCK", name)
		return nil
	}
	return s.update(ctx, write{names: []string{name}, cond: cond, step: step})
}

// locksSQL finds the locks on some names, and those within some ranges of names. It may find one twice. The subqueries
// around the arrays hide their length from PostgreSQL, which otherwise plans the statement anew each time. That takes
// ten times as long as to run it.
const locksSQL = `select token, root, collection, infinite, shared, owner, holder, principal, expires from ifmatch.davlock
 where root = any((select $1::bytea[])::bytea[]) and expires > coalesce($4, clock_timestamp())
union all
select l.token, l.root, l.collection, l.infinite, l.shared, l.owner, l.holder, l.principal, l.expires
 from unnest((select $2::bytea[]), (select $3::bytea[])) r(low, high) join ifmatch.davlock l
 on substring(l.root from 1 for 500) between substring(r.low from 1 for 500) and substring(r.high from 1 for 500)
 and l.root >= r.low and l.root < r.high
 where l.expires > coalesce($4, clock_timestamp())`

func lockRanges(t *trie, w wish) (roots, lows, highs [][]byte) {
	lows, highs = [][]byte{}, [][]byte{}
	for _, name := range t.names {
		roots = append(roots, []byte(name))
	}
	for _, name := range w.names {
		if w.below {
			low, high := belowRange(name)
			lows, highs = append(lows, low), append(highs, high)
		}
	}
	return roots, lows, highs
}

// readLocks reads the answer of locksSQL.
func readLocks(rows pgx.Rows, into *tree.Locks) error {
	var read map[string]bool // by token
	for rows.Next() {
		var l tree.Lock
		var root, owner []byte
		var principal string
		err := rows.Scan(&l.Token, &root, &l.Collection, &l.Infinite, &l.Shared, &owner, &l.Holder, &principal, &l.Expires)
		if err != nil {
			return err
		}
		if read[l.Token] {
			continue
		}
		if read == nil {
			read = map[string]bool{}
		}
		read[l.Token] = true
		l.Root, l.Owner, l.Principal = string(root), string(owner), tree.Principal(principal)
		into.Add(l)
	}
	return nil
}
