package failure

import lru "github.com/hashicorp/golang-lru/v2"

// maxOnce bounds the subjects whose errors are remembered.
const maxOnce = 1 << 10

// Once reports errors that come again and again: the error of a subject is not reported if it is the same as before.
type Once struct {
	report func(error)
	told   *lru.Cache[string, string] // the last error by subject
}

// NewOnce returns a Once that reports to report.
func NewOnce(report func(error)) *Once {
	told, _ := lru.New[string, string](maxOnce) // it fails only for a size below one
	return &Once{report, told}
}

// Report reports an error of a subject, such as a file by its name.
func (o *Once) Report(subject string, err error) {
	if before, ok := o.told.Get(subject); !ok || before != err.Error() {
		o.told.Add(subject, err.Error())
		o.report(err)
	}
}

// Forget says that a subject has no error any more. Its next one is reported.
func (o *Once) Forget(subject string) { o.told.Remove(subject) }
