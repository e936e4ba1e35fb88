package storage

import (
	"strings"
	"sync"

	"github.com/weirstream/weir/internal/vfs"
)

// heldSync is a file system whose journal syncs can be held.
type heldSync struct {
	vfs.FS
	mu   sync.Mutex
	gate chan struct{} // open when closed
}

func newHeldSync() *heldSync {
	h := &heldSync{FS: vfs.NewMem(), gate: make(chan struct{})}
	close(h.gate)
	return h
}

func (h *heldSync) hold() {
	h.mu.Lock()
	h.gate = make(chan struct{})
	h.mu.Unlock()
}

func (h *heldSync) free() {
	h.mu.Lock()
	close(h.gate)
	h.mu.Unlock()
}

func (h *heldSync) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.Contains(name, "journal") {
		return f, err
	}
	return &heldFile{f, h}, nil
}

func (h *heldSync) Create(name string) (vfs.File, error) {
	f, err := h.FS.Create(name)
	return h.wrap(name, f, err)
}

func (h *heldSync) Open(name string) (vfs.File, error) {
	f, err := h.FS.Open(name)
	return h.wrap(name, f, err)
}

type heldFile struct {
	vfs.File
	h *heldSync
}

func (f *heldFile) Sync() error {
	f.h.mu.Lock()
	gate := f.h.gate
	f.h.mu.Unlock()
	<-gate
	return f.File.Sync()
}
