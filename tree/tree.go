// Package tree is the vocabulary of ifmatch: a tree of named versions, and the one contract by which they change.
//
// A request names the version it expects. The tree either still has it and moves to the next one in a single step, or
// it does not and nothing happens. That is why every method of [Store] that changes something takes a [Condition]: it
// travels down as a value and is asked inside the commit, where nothing can move any more.
//
// # Names
//
// A name is a slash-separated path below the root, without a slash at either end; the root itself is "". Names are bytes,
// not UTF-8: two names are the same only if every byte is. [CheckName] says which names can exist. A store may take two
// names for one all the same ([SameName]), as some disks do: then each does for the other, locks are of both, and a Move
// from one to the other changes how the name is spelled.
package tree

import (
	"context"
	"crypto"
	"encoding/base64"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/net/webdav"
)

// An ETag is a strong entity tag with its quotes, as RFC 9110 §8.8.3 writes it; the zero value means that the tag is
// not known, or that there is none.
type ETag string

// TagOf returns the tag of the content with this SHA-256. Equal content has an equal tag: under any name, after a
// restart, on every instance.
func TagOf(sum [32]byte) ETag {
	var tag [2 + 43]byte
	tag[0], tag[len(tag)-1] = '"', '"'
	base64.RawURLEncoding.Encode(tag[1:], sum[:])
	return ETag(tag[:])
}

// A State is what a name stood for at one instant.
type State struct {
	Name       string
	Exists     bool
	Collection bool
	Link       bool // the name is a symbolic link to what the rest tells of; walks do not go through it
	Through    bool // a symbolic link is on the way to the name; told with an error too
	Dead       bool // a Link that leads to nothing that can be shown: it has no content, and can have no tag
	// Resolved is the name without links that the rest tells of; nil where that is Name. Of the members of a collection
	// it tells what they lead to, as if no link led to the collection.
	Resolved *string
	// Tag is the tag of a file's content. It is empty for a collection, and where it is not known yet.
	Tag     ETag
	Size    int64     // in bytes; 0 for a collection
	Created time.Time // zero where it is not known
	// Executable: a local program may be started from the file.
	Executable bool

	// Modified is when the content was last modified, as the disk has it, in whole seconds. Anybody can set it, also to what
	// has not come yet. Zero where that is not known.
	Modified time.Time
	// LastModified is Modified where a file is to be shown with it as a validator (RFC 9110 §8.8.2): zero as long as it has
	// not come yet, and of what is no file.
	LastModified time.Time
	// Dates tell which dates a client may send prove that this version is there. A store fills them in for a file in a
	// [View], and for what Open returns. Nil: no date does.
	Dates Dates

	// Filled only where a [Want] asks for them.
	Properties []webdav.Property // dead properties, in document order
	Locks      []Lock            // those that cover the name
	Sums       Sums              // of the content of a file: SHA-256, SHA-1 and MD5; nil where they are not known
}

// A View is what is there now. It is valid only while the call lasts that hands it out.
type View interface {
	// State tells what a name stands for. That nothing is there is not an error: Exists is false then.
	State(name string) (State, error)
	// Locks returns the locks that cover a name and those rooted below it. Their roots are spelled as that name is.
	Locks(name string) ([]Lock, error)
}

// A TokenView is a [View] that finds the locks of a name, and of a token, without going through others.
type TokenView interface {
	View
	// Covering returns the locks that cover a name, and none of those below it.
	Covering(name string) ([]Lock, error)
	// Holds reports whether a lock with this token covers a name.
	Holds(name, token string) (bool, error)
}

// Covering is [TokenView.Covering] of any View.
func Covering(v View, name string) ([]Lock, error) {
	if v, ok := v.(TokenView); ok {
		return v.Covering(name)
	}
	locks, err := v.Locks(name)
	return slices.DeleteFunc(slices.Clone(locks), func(l Lock) bool { return !l.Covers(name) }), err
}

// Holds is [TokenView.Holds] of any View.
func Holds(v View, name, token string) (bool, error) {
	if v, ok := v.(TokenView); ok {
		return v.Holds(name, token)
	}
	locks, err := v.Locks(name)
	return slices.ContainsFunc(locks, func(l Lock) bool { return l.Token == token && l.Covers(name) }), err
}

// A Condition says when an operation may happen. The zero value is true of anything.
type Condition struct {
	// Exact: a write replaces or removes only the version that Check has seen, and only if no local program has that open for
	// writing ([ErrBusy]). Otherwise it replaces whatever version is there at the instant of the commit.
	Exact bool
	// Names are the names that Check may ask State or Locks of, beyond the operation's own, so that a store can look at all
	// of them at once. The ancestors of either may be asked of too.
	Names []string
	// Check decides; nil: true of anything.
	Check Check
}

// A Check decides whether an operation may happen. It is pure: it looks at the View and at nothing else, and may run more
// than once. The caller of the [Store] gets the error that it returns.
//
// A Check that needs a tag which the View does not know returns [ErrTagUnknown]. The store then leaves the commit,
// hashes, and asks again, so that only files are hashed that a condition names.
type Check func(View) error

// Ask returns the answer of the Check.
func (c Condition) Ask(v View) error {
	if c.Check == nil {
		return nil
	}
	return c.Check(v)
}

// Spelled is [Speller.Spelled] for a [Check]: it is asked inside the commit whether a name that was looked up is still the
// one. It takes few looks, and so may miss what the other finds.
func Spelled(v View, name string) string {
	if v, ok := v.(interface{ Spelled(name string) string }); ok {
		return v.Spelled(name)
	}
	return name
}

// SameName reports whether two names are one to the store, which may take names that differ in case for one, or in other
// ways.
func SameName(v View, a, b string) bool {
	if v, ok := v.(interface{ SameName(a, b string) bool }); ok {
		return v.SameName(a, b)
	}
	return a == b
}

// Want says what a listing needs beyond names, sizes and times, so that nothing else is paid for.
type Want uint8

// What a State can hold on request.
const (
	WantTag Want = 1 << iota
	WantProperties
	WantLocks
	WantSums
)

// ReadOptions qualify a [Store.Stat] and a [Store.Open].
type ReadOptions struct {
	Want Want
	// TagDeadline is the time after which the store waits no longer for a tag or sums that it does not know yet, and leaves
	// them out (zero: it waits as long as that takes). It does not hold for what a Condition asks.
	TagDeadline time.Time
}

// ListOptions qualify a [Store.List].
type ListOptions struct {
	Want        Want
	TagDeadline time.Time // as in [ReadOptions]
	Depth       int       // 0: the resource itself; 1: its members too; -1: all that is below it
	Limit       int       // the most members that may be below it (0: no bound); where there are more: [ErrTooMany]
	// Show says which members there are (nil: all): others are not listed, entered or counted. A member that is a link may be
	// a collection. It is asked often, and must not ask the store.
	Show func(name string, collection bool) bool
}

// Reading returns the options for one of the resources that are listed.
func (o ListOptions) Reading() ReadOptions { return ReadOptions{o.Want, o.TagDeadline} }

type hashContextKey struct{}

// A HashLimit makes of a context the one in which a file is hashed.
type HashLimit func(context.Context) (context.Context, context.CancelFunc)

// WithHashContext returns a context in which a store that has to hash a file does it in what limit makes of the context
// that it would use: the work of a request may be worth more than what it only has to know.
func WithHashContext(ctx context.Context, limit HashLimit) context.Context {
	return context.WithValue(ctx, hashContextKey{}, limit)
}

// HashContext returns the context in which a store hashes a file.
func HashContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if limit, ok := ctx.Value(hashContextKey{}).(HashLimit); ok {
		return limit(ctx)
	}
	return ctx, func() {}
}

// Patience returns the context in which a store waits for what it can leave out, see [ReadOptions].
func Patience(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

type clientKey struct{}

// WithClient returns a context for what is done for a client, so that a store can share out among clients what it has too
// little of. "" stands for many that cannot be told apart.
func WithClient(ctx context.Context, client string) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// ClientOf returns the client for which something is done.
func ClientOf(ctx context.Context) string {
	client, _ := ctx.Value(clientKey{}).(string)
	return client
}

// Content is an opened version of a file. It stays that version, whatever happens to the name; a local program that writes
// into the file itself is found out. Without a tag its bytes are whatever is there.
type Content interface {
	// ReadAt is as [io.ReaderAt] has it. [ErrChanged] says that a local program has written to the file.
	io.ReaderAt
	// WriteRange writes n bytes to w, from an offset on, and returns how many w has got. They are those of which the State has
	// the tag: [ErrChanged] says that a local program has written to the file meanwhile, and some may be others; then w lacks
	// the last of them, and lacks all where written is 0. Where w is an [io.ReaderFrom], the operating system may send most of
	// them. One WriteRange at a time.
	WriteRange(ctx context.Context, w io.Writer, offset, n int64) (written int64, err error)
	io.Closer
}

// A Part is some of the bytes of a content.
type Part struct{ Offset, Length int64 }

// PartedContent is what a [Content] has that costs more to send in parts: Parts is told which will be asked for, before
// the first, so that what they have in common is done once. It reports whether they are sent with less effort than the
// whole; [ErrChanged] is as of WriteRange.
type PartedContent interface {
	Parts(ctx context.Context, parts []Part) (bool, error)
}

// PutOptions qualify a [Store.Put].
type PutOptions struct {
	// Modified is the modification time to record, whatever it is (zero: now, or up to a second later, so that it is later
	// than any that other content of the name was shown with). If the store keeps no such time, it is as if none were given:
	// the State that comes back says.
	Modified time.Time
	// Length is the number of bytes the body must have, or -1 where nobody said. A body of another length is a
	// [BodyError], and nothing is stored. Where there is no room for it, [ErrNoSpace] comes before the body is read.
	Length int64
	// Hashes are computed of the body as it comes in, besides the SHA-256 of its tag.
	Hashes []crypto.Hash
	// Verify, if not nil, is asked once the body has ended, before any Check and before anything can be seen. What it
	// returns is what the caller gets, and nothing is stored then.
	Verify func(Sums) error
}

// CopyOptions qualify a [Store.Copy] and a [Store.Move].
type CopyOptions struct {
	NoOverwrite bool // RFC 4918 §10.6 "Overwrite: F": fail with ErrExist where the destination exists
	Shallow     bool // RFC 4918 §9.8.3 "Depth: 0": a collection without its members; Copy only

	// Modified is the modification time that the destination gets (zero: what it has anyway); of a collection, it alone.
	// Where the store keeps no such time, it is as if none were given. What is moved also keeps its own where the store lets
	// nobody set it. The State that comes back says.
	Modified time.Time
}

// MkdirOptions qualify a [Store.Mkdir].
type MkdirOptions struct {
	Modified time.Time // the modification time to record (zero, or one that the disk does not keep: now)
}

// A Patch changes the properties of one resource, all of it or nothing.
type Patch struct {
	// Properties are set or removed in this order (RFC 4918 §9.2).
	Properties []webdav.Proppatch
	// Modified is the modification time to record (zero: leave it). If the store keeps no such time, that is [ErrTime].
	Modified time.Time
	// Executable says whether a local program may be started from the file (nil: leave it). Of a collection it is
	// [ErrIsCollection].
	Executable *bool
}

// A Store is a tree of files and collections that many use at once. All names are canonical (see [CheckName]); all
// methods may be called concurrently.
//
// Writes are linearizable: each happens at one instant between its call and its return, its Condition is true at that
// instant, and a failed call has changed nothing, unless it says [ErrUnsure]. Readers see the old version or the new one,
// whole; nobody waits for somebody else's body. What is durable when a write returns is for the store to document.
//
// Errors wrap the sentinels of this package, besides whatever a Check returns.
type Store interface {
	// Stat tells what a name stands for; [ErrNotExist] where nothing is there.
	Stat(ctx context.Context, name string, opts ReadOptions) (State, error)

	// List yields a resource, and if that is a collection the members below it that Depth asks for, each collection before its
	// members. It goes through no link but dir itself. The condition is asked about the look that is yielded first; it and
	// [ErrTooMany] come before anything else. A member that cannot be read comes with an error and its name, and does not
	// end the listing; an error with an empty name does.
	List(ctx context.Context, dir string, opts ListOptions, cond Condition) iter.Seq2[State, error]

	// Open opens the content of a file. The State, its tag and its properties included, belongs to what was opened. The
	// condition is asked about it: in the View of its Check, the name stands for that State, and a tag that is not known
	// after TagDeadline stays unknown.
	Open(ctx context.Context, name string, opts ReadOptions, cond Condition) (Content, State, error)

	// Try asks a condition of the tree as it is now: a courtesy, so that a write that would fail can be refused before
	// its body is read. The write itself asks again.
	Try(ctx context.Context, cond Condition) error

	// Put makes body the content of a file and reports whether the name is new. The collection it goes into must
	// exist ([ErrNoParent]); the name must not be a collection ([ErrIsCollection]). An error from body comes back as
	// a [BodyError].
	Put(ctx context.Context, name string, body io.Reader, opts PutOptions, cond Condition) (s State, created bool, err error)

	// Mkdir makes a collection where nothing is ([ErrExist]), in one that exists ([ErrNoParent]).
	Mkdir(ctx context.Context, name string, opts MkdirOptions, cond Condition) (State, error)

	// Remove removes a file, or a collection and all that is below it, with their locks.
	Remove(ctx context.Context, name string, cond Condition) error

	// Move gives what from names the name to, in place of what was there. It ends the locks of from and of the members of
	// what was there; those of to itself stay. A name onto itself is [ErrSame]; into its own descendant or onto its own
	// ancestor [ErrNested]. A store that has to copy what it moves may fail with [ErrBusy] after that, and say so in the
	// [StorageError]: the copy is there, and the source too, since it has been changed meanwhile.
	Move(ctx context.Context, from, to string, opts CopyOptions, cond Condition) (s State, created bool, err error)

	// Copy makes a copy of from at to, in place of what was there, all of it at one instant; errors as for Move. The
	// copy has the properties of the original and none of its locks. A member that cannot be copied is a [MemberError],
	// here and of a Move that has to copy.
	Copy(ctx context.Context, from, to string, opts CopyOptions, cond Condition) (s State, created bool, err error)

	// Lock takes a lock and makes an empty file where nothing is (RFC 4918 §7.3). [LockedError] where another lock is in the
	// way.
	Lock(ctx context.Context, req LockRequest, cond Condition) (l Lock, created bool, err error)

	// Refresh has the lock that covers name and has one of these tokens end after timeout, counted from now; [ErrNoLock] if
	// none does.
	Refresh(ctx context.Context, name string, tokens []string, timeout time.Duration, cond Condition) (Lock, error)

	// Unlock ends the lock with this token; [ErrNoLock] if it does not cover name.
	Unlock(ctx context.Context, name, token string, cond Condition) error

	// PatchProperties applies a patch to what is there ([ErrNotExist]).
	PatchProperties(ctx context.Context, name string, patch Patch, cond Condition) error

	// Versions yields the versions that the history keeps of a name and of all below it, the oldest first. An error ends it.
	Versions(ctx context.Context, name string, opts VersionOptions) iter.Seq2[Version, error]

	// OpenVersion opens the content of a version that is a file; [ErrNotExist] where it is not kept any more.
	OpenVersion(ctx context.Context, id string) (Content, Version, error)

	// Restore gives a name a copy of a version, with its properties and all that is in it. The version stays in the history,
	// and what it replaces goes there too. [ErrSame] says that what is at the name is the same already.
	Restore(ctx context.Context, id, to string, opts RestoreOptions, cond Condition) (s State, created bool, err error)
}

// A Speller is a [Store] in which a name can stand for another one that is there: that is the same to whoever reads both.
type Speller interface {
	// Spelled returns the name that is there for one from a client; the one itself, where it is there or nothing is, or
	// where it stands for more than one.
	Spelled(ctx context.Context, name string) (string, error)
}

// Quotas is what a [Store] has that knows how much room there is (RFC 4331), in bytes. ErrUnsupported says that it does not
// know after all.
type Quotas interface {
	Quota(ctx context.Context, name string) (used, available int64, err error)
}

// The bounds of names. What is beyond them is on no disk, and is not looked for: a look takes longer the longer a name is.
const (
	// MaxName is in bytes, and that of a path on Linux.
	MaxName = 4096
	// MaxSegment is in code units of UTF-16, as the disks count that take the longest segments. Most take 255 bytes; but a
	// name that macOS decomposes can have three times as many as the same name has on the disk.
	MaxSegment = 255
)

// CheckName returns nil for a name that can exist; a [BadNameError] for one that cannot, as it has an empty, "." or ".."
// segment, or a NUL byte; and [ErrNameTooLong] for one that is longer than [MaxName], or has a segment longer than
// [MaxSegment], which is [ErrSegmentLong].
func CheckName(name string) error {
	if len(name) > MaxName {
		return ErrNameTooLong
	}
	if name == "" {
		return nil
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch {
		case segment == "":
			return &BadNameError{name, "has an empty segment"}
		case segment == "." || segment == "..":
			return &BadNameError{name, "has a segment " + segment}
		case strings.IndexByte(segment, 0) >= 0:
			return &BadNameError{name, "has a NUL byte"}
		case len(segment) > MaxSegment && utf16Length(segment) > MaxSegment:
			return ErrSegmentLong
		}
	}
	return nil
}

func utf16Length(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// Split returns the collection a name is a member of, and its last segment. Both are "" for the root.
func Split(name string) (parent, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name
	}
	return name[:i], name[i+1:]
}

// Join returns the name of a member of a collection.
func Join(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}

// Below reports whether name is a descendant of dir. Nothing is below itself.
func Below(name, dir string) bool {
	if dir == "" {
		return name != ""
	}
	return len(name) > len(dir) && name[len(dir)] == '/' && strings.HasPrefix(name, dir)
}
