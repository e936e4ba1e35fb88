package broker

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sentTo asks the kernel about a connection's data; false if it does not tell.
func sentTo(nc net.Conn) (s sent, known bool) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return sent{}, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return sent{}, false
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		s = sent{info.Bytes_acked, time.Duration(info.Last_data_sent) * time.Millisecond}
		known = true
	})
	return s, known && err == nil
}
