package storage

import (
	"errors"
	"io/fs"
	"strings"
)

// txnIndex looks at the transaction index of a segment that the checkpoint says to
// have one. It may be absent as any index. Damage is harmless: a start makes the file anew from the log.
func (l *logCheck) txnIndex(s segmentState) error {
	if s.aborted == 0 {
		return nil
	}
	name := strings.TrimSuffix(l.fileName(segmentFile{s.base, s.generation}), ".log") + ".txnindex"
	at, reason := int64(-1), ""
	f, err := l.cfg.FS.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // as after a restore
	case err != nil:
		return err
	default:
		defer f.Close()
		var b [abortedLen]byte
		for k := int64(0); k < int64(s.aborted) && reason == ""; k++ {
			if readFull(f, b[:], k*abortedLen) != nil {
				at, reason = k*abortedLen, "the transaction index is cut or cannot be read"
			} else if _, ok := decodeAborted(b[:]); !ok {
				at, reason = k*abortedLen, "the entry is damaged"
			}
		}
	}
	if reason != "" {
		l.checker.problem(Problem{File: name, Position: at, Topic: l.spec.Name, Partition: l.partition,
			Offset: s.base, Reason: reason, Next: nextHarmless, Harmless: true})
	}
	return nil
}
