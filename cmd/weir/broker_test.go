package main

import (
	"context"
	"net"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/internal/vfs"
)

// startBroker runs a broker in this process, in memory, for one script, and
// returns its address.
func startBroker(env *testscript.Env) (string, error) {
	b, err := broker.Open(context.Background(), broker.Config{
		Dir: "data", FS: vfs.NewMem(), JournalFileBytes: 1 << 20, CheckpointBytes: 1 << 20,
		// A console must not rely on the broker to refuse auto-creation.
		Settings: map[string]string{"auto.create.topics.enable": "true"},
	})
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(listener) }()
	env.Defer(func() {
		if err := b.Shutdown(context.Background()); err != nil {
			env.T().Log("shutdown:", err)
		}
		<-served
	})
	return listener.Addr().String(), nil
}
