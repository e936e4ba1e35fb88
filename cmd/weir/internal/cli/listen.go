package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

func checkAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return usagef("%s %s: port %q: want 0 to 65535", flag, address, port)
		}
	}
	if err != nil {
		return usagef("%s %s: want host:port, as %s", flag, address, defaultBroker)
	}
	return nil
}

// loopback tells whether an address is reached from this machine only. A name
// is what all its addresses are; one that does not resolve will not listen.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return false
	}
	if host == "localhost" {
		return true
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	ips, err := net.LookupIP(host)
	for _, ip := range ips {
		if !ip.IsLoopback() {
			return false
		}
	}
	return err == nil
}

// listenAll opens all addresses or none. "localhost" is opened as 127.0.0.1 and
// as ::1 on the same port: clients try either first. A machine without IPv6
// does without the second.
func listenAll(ctx context.Context, addresses []string, flag string) (all []net.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(all)
		}
	}()
	for _, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return all, err
		}
		if host != "localhost" {
			l, err := listen(ctx, address, flag)
			if err != nil {
				return all, err
			}
			all = append(all, l)
			continue
		}
		four, err := listen(ctx, net.JoinHostPort("127.0.0.1", port), flag)
		if err != nil {
			return all, err
		}
		all = append(all, four)
		_, port, err = net.SplitHostPort(four.Addr().String())
		if err != nil {
			return all, err
		}
		six, err := listen(ctx, net.JoinHostPort("::1", port), flag)
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			return all, err
		}
		all = append(all, six)
	}
	return all, nil
}

func listen(ctx context.Context, address, flag string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("address %s is taken by another process: stop it, or choose another address with %s", address, flag)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("address %s may not be used by this user: choose a port above 1023 with %s", address, flag)
	}
	return nil, &exitError{ExitFailed, fmt.Errorf("listen on %s: %w; choose another address with %s", address, err, flag)}
}

// closeAll closes listeners that may have been closed before.
func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // a second Close only says that it is one
	}
}
