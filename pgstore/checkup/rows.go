package checkup

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// mostNamed is how many names are told of one fault.
const mostNamed = 200

// orphansSQL finds the collections that members have and that are not there. One statement sees one instant.
const orphansSQL = `select n.parent, count(*) from ifmatch.node n
 left join (select id from ifmatch.node where kind = 'd') d on d.id = n.parent
 where n.parent > 0 and d.id is null group by n.parent order by n.parent limit 1000`

// An orphanage is a collection that is not there, and the number of its members.
type orphanage struct{ ID, Members int64 }

// orphans looks for members of collections that are not there. A collection in the root gives them a name again.
func (c *Checkup) orphans(ctx context.Context) error {
	found, err := collect[orphanage](ctx, c.Conn, orphansSQL)
	if err != nil || len(found) == 0 {
		if err == nil {
			c.To.Good("each resource is in a collection")
		}
		return err
	}
	members := int64(0)
	for _, one := range found {
		members += one.Members
		if c.Fix {
			if err := c.adopt(ctx, one.ID); err != nil {
				return err
			}
		}
	}
	what := fmt.Sprintf("%d resources are in %d collections that are not there", members, len(found))
	if c.Fix {
		c.To.Note(what+"; they are in /recovered-NUMBER now", "look at them, and move or remove them")
		return nil
	}
	c.To.Bad(what, "give them a name again with --fix")
	return nil
}

// adopt makes a collection in the root with an id that members have already.
func (c *Checkup) adopt(ctx context.Context, id int64) error {
	change, err := uuid.NewV7()
	if err != nil {
		return err
	}
	_, err = c.Conn.Exec(ctx, `with n as (insert into ifmatch.node (parent, id, name, kind, modified, created)
  overriding system value
  select 1, $1::bigint, `+recoveredName+`, 'd', extract(epoch from now())::bigint, now()
  where not exists (select from ifmatch.node where id = $1::bigint and kind = 'd')
  on conflict do nothing returning name)`+recovered("$2"),
		id, change)
	return err
}

// removedOrphansSQL finds the members of removed trees that the history does not have any more.
const removedOrphansSQL = `select n.parent, count(*) from ifmatch.node n left join ifmatch.version v on v.id = -n.parent
 where n.parent < 0 and v.id is null group by n.parent order by n.parent limit 1000`

// removedOrphans looks for resources that expired versions have left.
func (c *Checkup) removedOrphans(ctx context.Context) error {
	found, err := collect[orphanage](ctx, c.Conn, removedOrphansSQL)
	if err != nil || len(found) == 0 {
		return err
	}
	if !c.Fix {
		c.To.Bad(fmt.Sprintf("%d removed trees are in no version of the history", len(found)), "remove them with --fix")
		return nil
	}
	for _, one := range found {
		_, err := c.Conn.Exec(ctx, `with recursive t as (
  select n.parent, n.name, n.id, n.kind, n.blob, n.place from ifmatch.node n where n.parent = $1
  union all select n.parent, n.name, n.id, n.kind, n.blob, n.place from t join ifmatch.node n on n.parent = t.id
  and t.kind = 'd'),
 d as (delete from ifmatch.node n using t where n.parent = t.parent and n.name = t.name)
 insert into ifmatch.dead (blob, place) select distinct blob, place from t where kind = 'f' on conflict do nothing`, one.ID)
		if err != nil {
			return err
		}
	}
	c.To.Note(fmt.Sprintf("%d removed trees were in no version of the history, and are gone", len(found)), "")
	return nil
}

// rows looks for contents that are to be in the database, and are not.
func (c *Checkup) rows(ctx context.Context) error {
	missing, err := collect[lost](ctx, c.Conn, `select n.blob, n.place::text from (
  select blob, place, size from ifmatch.node where kind = 'f' union select blob, place, size from ifmatch.version
  where kind = 'f') n left join ifmatch.content c on c.blob = n.blob
 where n.place = 'i' and n.size > 0 and c.blob is null limit 10000`)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		c.To.Good("each small content is in the database")
		return nil
	}
	return c.tellLost(ctx, "contents in the database are missing", "is missing", missing)
}

// A lost content is missing or damaged.
type lost struct {
	Blob  uuid.UUID
	Place string
}

// tellLost tells the names that lost contents have.
func (c *Checkup) tellLost(ctx context.Context, what, each string, all []lost) error {
	var blobs []uuid.UUID
	for _, one := range all {
		blobs = append(blobs, one.Blob)
	}
	c.To.Bad(fmt.Sprintf("%d %s", len(all), what), "restore them from a backup: they are named below")
	names, err := c.namesOf(ctx, blobs[:min(len(blobs), mostNamed)])
	for _, name := range names {
		c.Told(name, each)
	}
	if more := len(all) - mostNamed; more > 0 {
		c.Told("", fmt.Sprintf("and %d more", more))
	}
	return err
}

// A step is a row on the way from a file up to the root.
type step struct {
	Number int64 // of the file
	Level  int64
	Name   []byte
	Parent int64
}

// namesOf returns the names in the tree, and in the history, of contents.
func (c *Checkup) namesOf(ctx context.Context, blobs []uuid.UUID) (all []string, err error) {
	// There is no index on id. Each level is one look through the table. A circle has no end.
	steps, err := collect[step](ctx, c.Conn, `with recursive up as (
  select row_number() over () as i, 0::bigint as level, n.name, n.parent from ifmatch.node n
  where n.kind = 'f' and n.blob = any($1::uuid[])
  union all select up.i, up.level + 1, n.name, n.parent from up join ifmatch.node n on n.id = up.parent and n.kind = 'd'
  where up.parent > 0 and up.level < 1000)
 select i, level, name, parent from up order by i, level`, blobs)
	if err != nil {
		return nil, err
	}
	var parts []string
	for i, one := range steps {
		if len(one.Name) > 0 {
			parts = append([]string{string(one.Name)}, parts...)
		}
		if i+1 < len(steps) && steps[i+1].Number == one.Number {
			continue
		}
		name := strings.Join(parts, "/")
		if one.Parent < 0 {
			name = fmt.Sprintf("%s (in the history, %d)", name, -one.Parent)
		}
		all, parts = append(all, name), nil
	}
	kept, err := c.Conn.Query(ctx, "select path, id from ifmatch.version where kind = 'f' and blob = any($1::uuid[]) order by id",
		blobs)
	if err != nil {
		return nil, err
	}
	var path []byte
	var id int64
	_, err = pgx.ForEachRow(kept, []any{&path, &id}, func() error {
		all = append(all, fmt.Sprintf("%s (in the history, %d)", path, id))
		return nil
	})
	return all, err
}

// collect returns the rows of a query.
func collect[T any](ctx context.Context, conn *pgx.Conn, sql string, args ...any) ([]T, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}
