// Package progress shows how much of a long command is done.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A Meter shows the progress of a command that reads many files: as a bar on a terminal, else as a line at intervals.
type Meter struct {
	Files, Bytes int64 // read so far

	w               io.Writer
	bar             *progressbar.ProgressBar // nil: not a terminal
	allFiles        int64
	allBytes        int64
	start, reported time.Time
}

// interval is the time between two lines.
const interval = 10 * time.Second

// New returns a Meter that writes to w. files and bytes are the totals.
func New(w io.Writer, files, bytes int64) *Meter {
	p := &Meter{w: w, allFiles: files, allBytes: bytes, start: time.Now(), reported: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && files > 0 {
		p.bar = progressbar.NewOptions64(max(1, bytes), progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true),
			progressbar.OptionShowTotalBytes(true), progressbar.OptionUseIECUnits(true), progressbar.OptionSetPredictTime(true),
			progressbar.OptionFullWidth(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	return p
}

// Add counts a file that was read.
func (p *Meter) Add(bytes int64) {
	p.Files++
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%d/%d files", p.Files, p.allFiles))
	}
	p.Part(bytes)
}

// Part counts a part of a file.
func (p *Meter) Part(bytes int64) {
	p.Bytes += bytes
	if p.bar != nil {
		_ = p.bar.Add64(bytes) // a bar that cannot be drawn stops nothing
		return
	}
	if time.Since(p.reported) < interval {
		return
	}
	p.reported = time.Now()
	rate := float64(p.Bytes) / time.Since(p.start).Seconds()
	left := "?"
	if rate > 0 {
		left = time.Duration(float64(p.allBytes-p.Bytes) / rate * float64(time.Second)).Round(time.Second).String()
	}
	fmt.Fprintf(p.w, "%d of %d files, %s of %s, %s/s, %s left\n",
		p.Files, p.allFiles, Size(p.Bytes), Size(p.allBytes), Size(int64(rate)), left)
}

// Printf prints a line above the bar.
func (p *Meter) Printf(format string, args ...any) {
	p.Clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// Clear removes the bar, so that a line can be printed. The next file draws it again.
func (p *Meter) Clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// End removes the bar for good.
func (p *Meter) End() {
	if p.bar != nil {
		_ = p.bar.Exit()
		p.Clear()
	}
}

// Size writes a number of bytes for people, such as "1.5 GiB".
func Size(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/1024, 0
	for ; value >= 1023.95 && unit < 4; unit++ {
		value /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[unit])
}

// Files words a number of files.
func Files(n int64) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}
