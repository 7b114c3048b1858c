//go:build !unix

package transfer

import (
	iofs "io/fs"
	"os"
)

const nonblock = 0

func attributesOf(*os.File, iofs.FileInfo) (properties bool, lost string) { return false, "" }
