package pgstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// versionPage is how many versions are read at once.
const versionPage = 500

// A kept version is a row of table version, or a member of a removed collection.
type kept struct {
	id        int64
	rest      string // the path of a member below the collection, or ""
	node      *node
	name      string // that it had
	gone      time.Time
	cause     string
	principal tree.Principal
}

func (k kept) version() tree.Version {
	id := strconv.FormatInt(k.id, 10)
	if k.rest != "" {
		id += "/" + k.rest
	}
	state := k.node.state(k.name, k.gone)
	state.Dates = nil // they are those of a name
	return tree.Version{State: state, ID: id, Gone: k.gone, Cause: k.cause, Principal: k.principal}
}

// member returns a member of a removed collection, by the path below it.
func (k kept) member(rest string, n *node) kept {
	if k.node = n; rest != "" {
		k.name, k.rest = tree.Join(k.name, rest), strings.TrimPrefix(k.rest+"/"+rest, "/")
	}
	return k
}

const versionColumns = `v.id, v.size, v.modified, v.created, v.gone, v.blob, v.kind::text, v.place::text, v.cause, v.executable,
 v.path, v.sha256, v.principal`

func scanVersion(rows pgx.Rows, more ...any) (k kept, err error) {
	k.node = &node{there: true, dates: noDates()}
	var place *string
	var path []byte
	var principal string
	err = rows.Scan(append([]any{&k.id, &k.node.size, &k.node.modified, &k.node.created, &k.gone, &k.node.blob, &k.node.kind,
		&place, &k.cause, &k.node.executable, &path, &k.node.sum, &principal}, more...)...)
	k.name, k.principal = string(path), tree.Principal(principal)
	if k.node.kind == kindDir {
		k.node.size = 0 // the row has that of all files in it
	}
	if place != nil {
		k.node.place = *place
	}
	return k, err
}

// versionsSQL reads the versions of a name and of all names below it, and the removed collections above it.
const versionsSQL = `select ` + versionColumns + ` from ifmatch.version v where v.id > $5 and (v.path = any($1::bytea[])
 and substring(v.path from 1 for 500) = any($2::bytea[])
 or substring(v.path from 1 for 500) between substring($3::bytea from 1 for 500) and substring($4::bytea from 1 for 500)
 and v.path >= $3 and v.path < $4) and ($7::timestamptz is null or v.gone >= $7) order by v.id limit $6`

// Versions implements [tree.Store].
func (s *Store) Versions(ctx context.Context, name string, opts tree.VersionOptions) iter.Seq2[tree.Version, error] {
	if opts.Inside != "" {
		return s.inside(ctx, opts.Inside)
	}
	return func(yield func(tree.Version, error) bool) {
		above := tree.Prefixes(name)
		var paths, starts [][]byte
		for _, p := range above {
			paths, starts = append(paths, []byte(p)), append(starts, []byte(p[:min(len(p), 500)]))
		}
		low, high := belowRange(name)
		var since *time.Time
		if !opts.Since.IsZero() {
			since = &opts.Since
		}
		last, full := int64(0), true
		for full {
			page, err := s.versions(ctx, versionsSQL, paths, starts, low, high, last, versionPage, since)
			full = len(page) == versionPage
			for _, k := range page {
				last = k.id
				if rest, below := strings.CutPrefix(name, k.name+"/"); below || k.name == "" && name != "" {
					var there bool
					if k, there, err = s.memberOf(ctx, k, rest); err == nil && !there {
						continue
					}
				}
				if err != nil {
					break
				}
				if !yield(k.version(), nil) {
					return
				}
			}
			if err != nil {
				yield(tree.Version{}, err)
				return
			}
		}
	}
}

func (s *Store) versions(ctx context.Context, sql string, args ...any) (all []kept, err error) {
	ctx, cancel := s.patient(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, translate(err)
	}
	defer rows.Close()
	for rows.Next() {
		k, err := scanVersion(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, translate(rows.Err())
}

// memberSQL walks from the root of a removed tree down some segments.
const memberSQL = `with recursive t(i, seg) as materialized (
  select i, seg from unnest($2::bytea[]) with ordinality as u(seg, i)),
w as (
  select 0::bigint as i, n.* from ifmatch.node n where n.parent = -($1::bigint)
  union all
  select t.i, n.* from w join t on t.i = w.i + 1 join ifmatch.node n on n.parent = w.id and n.name = t.seg and w.kind = 'd')
select ` + nodeColumns + `, n.props, (select c.data from ifmatch.content c where n.place = 'i' and c.blob = n.blob)
from w n where n.i = cardinality($2::bytea[])`

// memberOf returns the member of a removed collection.
func (s *Store) memberOf(ctx context.Context, k kept, rest string) (member kept, there bool, err error) {
	if k.node.kind != kindDir {
		return k, false, nil
	}
	ctx, cancel := s.patient(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, memberSQL, k.id, segmentsOf(rest))
	if err != nil {
		return k, false, translate(err)
	}
	defer rows.Close()
	var n *node
	for rows.Next() {
		var row nodeRow
		var data []byte
		if err := row.scan(rows, nil, &data); err != nil {
			return k, false, err
		}
		n = row.node()
		n.data = data
	}
	if n == nil {
		return k, false, translate(rows.Err())
	}
	return k.member(rest, n), true, translate(rows.Err())
}

func segmentsOf(rest string) [][]byte {
	all := [][]byte{}
	if rest == "" {
		return all
	}
	for segment := range strings.SplitSeq(rest, "/") {
		all = append(all, []byte(segment))
	}
	return all
}

// find returns a version by its ID, with its properties and, of a file, its content if that lies in the database.
func (s *Store) find(ctx context.Context, id string) (k kept, err error) {
	gone := fmt.Errorf("version %q: %w", id, tree.ErrNotExist)
	number, rest, isMember := strings.Cut(id, "/")
	row, err := strconv.ParseInt(number, 10, 64)
	if err != nil || row <= 0 || isMember && tree.CheckName(rest) != nil {
		return k, gone
	}
	ctx, cancel := s.patient(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `select `+versionColumns+`, v.props,
 (select c.data from ifmatch.content c where v.place = 'i' and c.blob = v.blob) from ifmatch.version v where v.id = $1`, row)
	if err != nil {
		return k, translate(err)
	}
	defer rows.Close()
	found := false
	for rows.Next() {
		var props, data []byte
		if k, err = scanVersion(rows, &props, &data); err != nil {
			return k, err
		}
		k.node.props, k.node.data, found = props, data, true
	}
	if err := rows.Err(); err != nil {
		return k, translate(err)
	}
	if !found {
		return k, gone
	}
	if k.node.kind == kindDir {
		member, there, err := s.memberOf(ctx, k, rest)
		if err == nil && !there {
			err = gone
		}
		return member, err
	}
	if isMember {
		return k, gone
	}
	return k, nil
}

// inside yields the members of a removed collection.
func (s *Store) inside(ctx context.Context, id string) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		dir, err := s.find(ctx, id)
		name := []byte{}
		for full := err == nil && dir.node.kind == kindDir; full; {
			limited, cancel := s.patient(ctx)
			var rows pgx.Rows
			rows, err = s.pool.Query(limited, membersSQL, dir.node.id, name, versionPage)
			if err != nil {
				cancel()
				break
			}
			var page []kept
			for rows.Next() {
				n := new(node)
				if _, name, _, err = n.readMember(rows); err != nil {
					break
				}
				page = append(page, dir.member(string(name), n))
			}
			rows.Close()
			cancel()
			if err = errors.Join(err, rows.Err()); err != nil {
				break
			}
			for _, member := range page {
				if len(member.name) > tree.MaxName {
					continue // as in a listing
				}
				if !yield(member.version(), nil) {
					return
				}
			}
			full = len(page) == versionPage
		}
		if err != nil {
			yield(tree.Version{}, translate(err))
		}
	}
}

// OpenVersion implements [tree.Store].
func (s *Store) OpenVersion(ctx context.Context, id string) (tree.Content, tree.Version, error) {
	k, err := s.find(ctx, id)
	if err == nil && k.node.kind == kindDir {
		err = fmt.Errorf("version %q: %w", id, tree.ErrIsCollection)
	}
	if err != nil {
		return nil, tree.Version{}, err
	}
	content, err := s.open(ctx, k.name, k.node)
	return content, k.version(), err
}

// Restore implements [tree.Store]. The content is not copied, because blobs never change. A collection counts as other
// content than what is at the name, even with the same members.
func (s *Store) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	return s.restore(ctx, id, to, false, opts, cond)
}

// restore is Restore, if shallow without the members of a collection.
func (s *Store) restore(
	ctx context.Context, id, to string, shallow bool, opts tree.RestoreOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	k, err := s.find(ctx, id)
	if err != nil {
		return tree.State{}, false, err
	}
	step := func(t *transaction) error {
		over, err := t.target(to)
		switch {
		case err != nil:
			return err
		case over.there && opts.NoOverwrite:
			return about(to, tree.ErrExist)
		case over.isFile() && over.tag() == k.node.tag(), to == "":
			return about(to, tree.ErrSame)
		}
		if err := t.ask(); err != nil {
			return err
		}
		created = !over.there
		t.guard(k)
		state = t.copyTo(to, k.node, over, tree.CopyOptions{Shallow: shallow}, causeRestore).state(to, t.view.now)
		return nil
	}
	err = s.update(ctx, write{names: []string{to}, cond: cond, step: step})
	if code(err) == codeDivision {
		err = fmt.Errorf("version %q: %w", id, tree.ErrNotExist)
	}
	return state, created && err == nil, err
}

// guard has the transaction fail if the version has expired meanwhile. The row stays until the commit.
func (t *transaction) guard(k kept) {
	t.do("select 1 / count(*) from (select from ifmatch.version where id = $1 for share) v", k.id)
}
