package wire

import (
	"os"
	"strconv"
	"strings"
)

// Buffered returns how many bytes the kernel buffers on one connection within the machine, at the most, and how many a
// program holds that has read them and passes them on by reference: those in its pipe, and in its buffer for sending.
// It returns 0 for what is unknown.
func Buffered() (sum, relayed int64) {
	send, receive := mostOf("/proc/sys/net/ipv4/tcp_wmem"), mostOf("/proc/sys/net/ipv4/tcp_rmem")
	pipe := mostOf("/proc/sys/fs/pipe-max-size")
	if send == 0 || receive == 0 || pipe == 0 {
		return 0, 0
	}
	return send + receive, send + pipe
}

// mostOf returns the last number in a file of the kernel: 0 if there is none.
func mostOf(file string) (most int64) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for number := range strings.FieldsSeq(string(data)) {
		if most, err = strconv.ParseInt(number, 10, 64); err != nil {
			return 0
		}
	}
	return most
}
