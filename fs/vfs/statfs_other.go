//go:build !linux && !darwin

package fs

import (
	"errors"
	"os"
)

func spaceOf(*os.File) (Space, error) { return Space{}, errors.ErrUnsupported }
