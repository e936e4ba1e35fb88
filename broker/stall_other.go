//go:build !linux

package broker

import "net"

// sentTo: this system does not tell.
func sentTo(net.Conn) (sent, bool) { return sent{}, false }
