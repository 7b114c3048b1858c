//go:build !linux

package wire

func (c *Conn) side() side            { return unknown }
func (c *Conn) taken() (int64, bool)  { return 0, false }
func (c *Conn) hasUnread() bool       { return false }
func (c *Conn) unread() (int64, bool) { return 0, false }
