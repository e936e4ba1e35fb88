//go:build unix

package sim

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/weirstream/weir/broker"
	"github.com/weirstream/weir/internal/vfs"
)

// smallServe is set in the environment of a test binary that is to be a broker
// with small journal files and a checkpoint every few MiB, so that faults are
// never far from one. The weir binary has no setting for these sizes.
const smallServe = "WEIR_SIM_DATA"

// smallCommand serves with this test binary.
func smallCommand(durability string) Command {
	return func(dir, address string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), smallServe+"="+dir, "WEIR_SIM_ADDRESS="+address, "WEIR_SIM_DURABILITY="+durability)
		return cmd
	}
}

// serveSmall does what weir serve does.
func serveSmall(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", os.Getenv("WEIR_SIM_ADDRESS"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	b, err := broker.Open(ctx, broker.Config{
		FS: vfs.OS(), Dir: dir, Durability: os.Getenv("WEIR_SIM_DURABILITY"), Version: "sim", Settings: Settings(),
		JournalFileBytes: 1 << 20, CheckpointBytes: 3 << 20,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 74
	}
	go func() { _ = b.Serve(l) }()
	fmt.Printf("listening on %s\n", l.Addr())
	code := 0
	select {
	case <-ctx.Done():
	case <-b.Failed():
		fmt.Fprintln(os.Stderr, b.Err())
		code = 74
	}
	if err := b.Shutdown(context.Background()); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}
