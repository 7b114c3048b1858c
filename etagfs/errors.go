package etagfs

import (
	"errors"
	"fmt"
	"syscall"

	"ifmatch/fs"
	"ifmatch/tree"
)

// meanings says what an error from below means for the user of a store; what is not in it is passed on as it is.
var meanings = []struct{ below, above error }{
	{fs.ErrAway, tree.ErrUnsure},
	{fs.ErrShelved, tree.ErrUnsure},
	{fs.ErrStands, tree.ErrUnsure},
	{fs.ErrReserved, tree.ErrReserved},
	{fs.ErrLink, tree.ErrLink},
	{fs.ErrEscapes, tree.ErrEscapes},
	{fs.ErrSpecial, tree.ErrSpecial},
	{fs.ErrWriter, tree.ErrWriter},
	{fs.ErrBusy, tree.ErrBusy},
	{fs.ErrMoved, tree.ErrBusy},
	{syscall.EAGAIN, tree.ErrBusy},
	{syscall.ELOOP, tree.ErrNotExist},
	{syscall.ENOTDIR, tree.ErrNotExist},
	{syscall.ENAMETOOLONG, tree.ErrNameTooLong},
	{fs.ErrRoomKept, tree.ErrRoomKept},
	{syscall.ENOSPC, tree.ErrNoSpace},
	{syscall.EDQUOT, tree.ErrNoSpace},
	{syscall.EXDEV, tree.ErrOtherMount},
	{syscall.EBUSY, tree.ErrOtherMount}, // it is the very place where one is mounted
	{syscall.EROFS, tree.ErrReadOnlyDisk},
	{syscall.EFBIG, tree.ErrTooLarge},
	{syscall.EILSEQ, tree.ErrBadName},
	{syscall.EMFILE, tree.ErrExhausted},
	{syscall.ENFILE, tree.ErrExhausted},
	{syscall.ENOMEM, tree.ErrExhausted},
	{syscall.EIO, tree.ErrDisk},
	{syscall.ENXIO, tree.ErrDisk},
	{syscall.ENODEV, tree.ErrDisk},
	{syscall.ENOTCONN, tree.ErrDisk}, // a FUSE file system whose server is gone
	{syscall.ESTALE, tree.ErrDisk},   // an NFS server that knows it no more
	{fs.ErrLost, tree.ErrLost},
	{fs.ErrTime, tree.ErrTime},
	{errors.ErrUnsupported, tree.ErrUnsupported},
}

// unsure marks the failure of what comes after the change: it is not acknowledged, and it is there.
func unsure(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", tree.ErrUnsure, err)
}

func translate(err error) error {
	if err == nil {
		return nil
	}
	if member := new(tree.MemberError); errors.As(err, &member) {
		return &tree.MemberError{Name: member.Name, Collection: member.Collection, Err: translate(member.Err)}
	}
	if mounted := new(fs.MountedError); errors.As(err, &mounted) {
		return &tree.MountedError{Name: mounted.At}
	}
	for _, m := range meanings {
		if errors.Is(err, m.below) && !errors.Is(err, m.above) {
			return fmt.Errorf("%w: %w", m.above, err)
		}
	}
	return err
}
