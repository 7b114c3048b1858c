package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report has the results of a run.
type report struct {
	began, ended string // the load of the machine
	dropped      bool   // the kernel's caches were dropped before each row that says cold

	plain, warmUp, command, lookedAt time.Duration
	cold, warmForgotten, warm, moved starts
	hashed, again, movedAgain        int64
	all, hotAlone, hotBeside         usage
}

// starts are the times from the start of the server to its first answer, the part of that time in which its threads
// ran, and for comparison the time that the same program takes to print its version.
type starts struct{ answer, cpu, idle []time.Duration }

func (r *report) print(w io.Writer, t madeTree) {
	caches := "The caches of the kernel were dropped before each line that says cold."
	if !r.dropped {
		caches = "The caches of the kernel were not dropped, so nothing was cold but the index."
	}
	fmt.Fprintf(w, "%s files of 1–4 KiB (%s), mean path length %.0f, in %s directories; %d CPUs, %s/%s, %s, load %s at the beginning and %s at the end. %s\n\n",
		count(t.files), mib(t.bytes>>10), math.Round(float64(t.pathBytes)/float64(t.files)), count(t.directories),
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), r.began, r.ended, caches)

	row := func(cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	row("what", "measured", "compared", "wanted")
	row("---", "---", "---", "---")
	first := func(what string, s starts) {
		answer, idle := median(s.answer), median(s.idle)
		row("first answer, "+what, fmt.Sprintf("%s (%s of CPU), at the most %s", ms(answer), ms(median(s.cpu)), ms(slices.Max(s.answer))),
			fmt.Sprintf("%.1f × `ifmatch --version` (%s)", answer.Seconds()/idle.Seconds(), ms(idle)), "≤ 100 ms")
	}
	first("cold, no index", r.cold)
	first("cold, all in the index", r.warmForgotten)
	first("all in the index", r.warm)
	first("after everything was moved", r.moved)

	speed := func(took time.Duration) string {
		return fmt.Sprintf("%.1f s, %s files/s, %s/s", took.Seconds(), count(int(float64(t.files)/took.Seconds())),
			mib(int64(float64(t.bytes>>10)/took.Seconds())))
	}
	ratio := func(took time.Duration) string {
		return fmt.Sprintf("%.2f × sha256sum", took.Seconds()/r.plain.Seconds())
	}
	row("`find … \\| xargs sha256sum`, cold", speed(r.plain), "1", "")
	row(fmt.Sprintf("warm-up of the server, cold (%s hashed)", count(int(r.hashed))), speed(r.warmUp), ratio(r.warmUp), "about 1")
	row("`ifmatch index warm`, cold", speed(r.command), ratio(r.command), "about 1")
	row("looking at all files after a restart, cold", speed(r.lookedAt), ratio(r.lookedAt), "")
	row("hashed again after a restart", count(int(r.again)), "", "0")
	row("hashed again after everything was moved", count(int(r.movedAgain)), "", "0")

	memory := func(what string, u usage, wanted string) {
		row("resident, "+what, mib(u.resident), "at the most "+mib(u.peak), wanted)
	}
	memory("all files hashed and all directories watched", r.all, "< 150 MiB")
	memory(fmt.Sprintf("%d files asked for again and again", len(t.hot)), r.hotAlone, "< 40 MiB")
	memory("the same, and all is looked at and watched besides", r.hotBeside, "")
	row("watches", count(r.all.watches), fmt.Sprintf("%+d to the directories", r.all.watches-t.directories), "")
}

func median(times []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(times))[len(times)/2]
}

// count writes a number with commas.
func count(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", count(n/1000), n%1000)
}

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

func mib(kib int64) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }
