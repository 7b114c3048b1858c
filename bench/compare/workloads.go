package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A workload is a kind of requests that all servers get in turn, the same in each round.
type workload struct {
	name, title string
	unit        unit
	writes      bool     // ours takes part with --durability none, too
	disk        bool     // on a disk, and with full durability alone
	secure      bool     // over TLS
	starts      bool     // the batch starts the server itself
	flags       []string // of ours

	fill    func(s *site) error                      // before the server starts
	prepare func(ctx context.Context, s *site) error // when it runs
	before  func(s *site, round int) error           // before each batch, and not measured
	batch   func(ctx context.Context, s *site, round int) (sample, error)
	verify  func(ctx context.Context, s *site) error                      // behind the last round
	raw     func(ctx context.Context, s *site, round int) (sample, error) // in place of batch, without a server
}

// A unit says which of the figures of a workload is compared.
type unit string

const (
	cpuEach  unit = "ms CPU" // of the server, for each step
	wallEach unit = "ms"     // that the client waits
	rate     unit = "/s"     // steps
	mibRate  unit = "MiB/s"
)

// more reports whether more is better.
func (u unit) more() bool { return u == rate || u == mibRate }

// A scale is how much is sent.
type scale struct {
	gets, puts, large, members, walked int
	big                                int64
	seconds                            float64
}

var (
	fullScale  = scale{gets: 8000, puts: 2000, large: 3, members: 10_000, walked: 200, big: 256 << 20, seconds: 2}
	quickScale = scale{gets: 200, puts: 100, large: 1, members: 200, walked: 4, big: 4 << 20, seconds: 0.2}
)

// inDirectory is how many files a directory of the walk has.
const inDirectory = 100

// startName is asked for when a server starts. Most have no such file, and their 404 is an answer, too.
const startName = "start"

// Clients of the workloads.
const (
	readers = 32
	writers = 16
)

var allWorkloads = []*workload{
	{name: "get1k", title: "GET 1 KiB, 32 connections", unit: cpuEach,
		fill: fillFiles(1<<10, 64), prepare: warm, batch: getFiles},
	{name: "get1k-disk", title: "GET 1 KiB, on disk", unit: cpuEach, disk: true,
		fill: fillFiles(1<<10, 64), prepare: warmUntilOld, batch: getFiles},
	{name: "get1k-tls", title: "GET 1 KiB, TLS", unit: cpuEach, secure: true,
		fill: fillFiles(1<<10, 64), prepare: warm, batch: getFiles},
	{name: "get1k-h2", title: "GET 1 KiB, HTTP/2", unit: cpuEach, secure: true,
		fill: fillFiles(1<<10, 64), prepare: warm, batch: getFilesHTTP2},
	{name: "get64k", title: "GET 64 KiB, 32 connections", unit: cpuEach,
		fill: fillFiles(64<<10, 16), prepare: warm, batch: getFiles},
	{name: "get256m", title: "GET 256 MiB", unit: mibRate,
		fill: fillBig, prepare: getBigWhole, batch: getBig},
	{name: "304", title: "GET with If-None-Match, 304", unit: cpuEach,
		fill: fillFiles(1<<10, 64), prepare: learnTags, batch: revalidate},
	{name: "put-new", title: "PUT 1 KiB, new", unit: cpuEach,
		writes: true, batch: putNew, verify: verifyStored},
	{name: "put-over", title: "PUT 1 KiB, over", unit: cpuEach,
		writes: true, prepare: putFirst, batch: putOver, verify: verifyStored},
	{name: "put-if", title: "HEAD and PUT If-Match", unit: cpuEach,
		writes: true, prepare: putFirst, batch: putGuarded, verify: verifyStored},
	{name: "put256m", title: "PUT 256 MiB, new", unit: cpuEach,
		writes: true, batch: putBig},
	{name: "list", title: "PROPFIND, 10,000 members, 4 properties", unit: cpuEach,
		fill: fillMembers, prepare: listUntilKnown, batch: listAgain(fourProperties), raw: rawList},
	{name: "list-first", title: "PROPFIND, 10,000 members never seen before", unit: cpuEach,
		flags: unaware, before: fillUnseen, batch: listUnseen, raw: rawUnseen},
	{name: "allprop", title: "PROPFIND allprop, 10,000 members", unit: cpuEach,
		fill: fillMembers, prepare: listUntilKnown, batch: listAgain(allProperties)},
	{name: "walk", title: "PROPFIND of 200 directories, 20,000 files", unit: cpuEach,
		fill: fillWalk, prepare: walkUntilKnown, batch: walk, raw: rawWalk},
	{name: "first-byte", title: "first byte of an unseen file of 256 MiB", unit: wallEach,
		flags: unaware, before: fillUnseenBig, batch: firstByte, raw: rawUnseenBig},
	{name: "race", title: "compare and swap, 16 clients on 4 names", unit: rate,
		writes: true, fill: fillCounters, batch: race, verify: verifyRace},
	{name: "durable-over", title: "PUT 1 KiB over, on disk, 16 clients", unit: rate,
		disk: true, prepare: putFirst, batch: putOverFor, verify: verifyStored, raw: rawReplace},
	{name: "durable-if", title: "HEAD and PUT If-Match, on disk, 16 clients", unit: rate,
		disk: true, prepare: putFirst, batch: putGuardedFor, verify: verifyStored},
	{name: "start", title: "start to the first answer", unit: wallEach,
		starts: true, batch: startAgain},
}

// unaware has ours not learn of files before it is asked for them.
var unaware = []string{"--watch", "off", "--warm-up", "0"}

func chooseWorkloads(only string) (chosen []*workload, err error) {
	if only == "" {
		return allWorkloads, nil
	}
	for name := range strings.FieldsFuncSeq(only, isComma) {
		i := slices.IndexFunc(allWorkloads, func(w *workload) bool { return w.name == name })
		if i < 0 {
			var names []string
			for _, w := range allWorkloads {
				names = append(names, w.name)
			}
			return nil, fmt.Errorf("there is no workload %q; there are %s", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, allWorkloads[i])
	}
	return chosen, nil
}

// has reports whether a server has a place in the workload.
func (w *workload) has(s *server) bool {
	switch {
	case s.only != nil && !slices.Contains(s.only, w.name), slices.Contains(s.not, w.name), s.raw && w.raw == nil:
		return false
	case s.raw:
		return true
	}
	return (w.writes || !s.none) && (s.tls || !w.secure)
}

func (w *workload) flagsOf(s *server) []string {
	switch {
	case !s.build:
		return nil
	case w.secure:
		return append([]string{"--tls-cert", "{{.Cert}}", "--tls-key", "{{.Key}}"}, w.flags...)
	}
	return w.flags
}
