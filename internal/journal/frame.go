package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/weirstream/weir/internal/batch"
)

// Sizes in bytes; the layout is in doc/format/journal.md.
const (
	frameHeader = 40
	entryHeader = 24
	batchHead   = 21 // base offset to the batch's own checksum
	align       = 8
	frameMagic  = 0x77464d31 // "wFM1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// FrameBytes is the size in a journal file of a frame with n bytes of batches
// in the given number of entries.
func FrameBytes(n int64, entries int) int64 {
	return alignUp(frameHeader + int64(entries)*entryHeader + n)
}

// MaxFrame is the largest size, as FrameBytes tells it, that Append takes.
func (j *Journal) MaxFrame() int64 { return j.cfg.FileBytes - headerBlock }

func alignUp(n int64) int64 { return (n + align - 1) &^ (align - 1) }

// frameHead is the decoded header of a frame.
type frameHead struct {
	length      int64 // bytes, without padding
	lsn         LSN
	synced      LSN // highest LSN known to be synced when it was encoded
	incarnation uint32
	entries     int64
	crc         uint32
}

// appendFrame encodes one frame behind buf. On an error buf is as it was.
func appendFrame(buf []byte, h frameHead, entries []Entry) ([]byte, error) {
	start := len(buf)
	size := int(alignUp(h.length))
	buf = grow(buf, size)
	f := buf[start : start+size]
	binary.BigEndian.PutUint32(f[0:], frameMagic)
	binary.BigEndian.PutUint32(f[4:], uint32(h.length))
	binary.BigEndian.PutUint64(f[8:], uint64(h.lsn))
	binary.BigEndian.PutUint64(f[16:], uint64(h.synced))
	binary.BigEndian.PutUint32(f[24:], h.incarnation)
	binary.BigEndian.PutUint32(f[28:], uint32(len(entries)))
	binary.BigEndian.PutUint32(f[32:], 0)
	at, body := frameHeader, frameHeader+len(entries)*entryHeader
	for i := range entries {
		e := &entries[i]
		copy(f[at:], e.Topic[:])
		binary.BigEndian.PutUint32(f[at+16:], uint32(e.Partition))
		binary.BigEndian.PutUint32(f[at+20:], uint32(len(e.Batches)))
		at += entryHeader
		body += copy(f[body:], e.Batches)
	}
	clear(f[body:])
	crc, err := sumFrame(f, len(entries))
	if err != nil {
		return buf[:start], err
	}
	binary.BigEndian.PutUint32(f[36:], crc)
	return buf, nil
}

// grow makes buf longer by n bytes. Their contents are not defined: clearing
// them would touch every byte twice.
func grow(buf []byte, n int) []byte {
	if need := len(buf) + n; need > cap(buf) {
		bigger := make([]byte, len(buf), max(need, 2*cap(buf), 4<<10))
		copy(bigger, buf)
		buf = bigger
	}
	return buf[:len(buf)+n]
}

// sumFrame computes the checksum of a frame: its header without the checksum,
// all entry headers, and the first bytes of each batch up to and with the
// batch's own checksum, which covers the rest. Lengths are checked on the way.
func sumFrame(f []byte, entries int) (uint32, error) {
	body := frameHeader + entries*entryHeader
	crc := crc32.Update(0, castagnoli, f[:frameHeader-4])
	crc = crc32.Update(crc, castagnoli, f[frameHeader:body])
	rest := f[body:]
	for i := range entries {
		n := binary.BigEndian.Uint32(f[frameHeader+i*entryHeader+20:])
		if uint64(n) > uint64(len(rest)) {
			return 0, fmt.Errorf("entry %d has %d bytes, %d are left", i, n, len(rest))
		}
		batches := rest[:n]
		rest = rest[n:]
		for len(batches) > 0 {
			b, behind, err := batch.Split(batches)
			if err != nil {
				return 0, fmt.Errorf("entry %d: %w", i, err)
			}
			crc = crc32.Update(crc, castagnoli, b[:batchHead])
			batches = behind
		}
	}
	return crc, nil
}

// decodeHead reads a frame's header; false means that none begins here.
func decodeHead(f []byte) (frameHead, bool) {
	if len(f) < frameHeader || binary.BigEndian.Uint32(f) != frameMagic {
		return frameHead{}, false
	}
	h := frameHead{
		length:      int64(binary.BigEndian.Uint32(f[4:])),
		lsn:         LSN(binary.BigEndian.Uint64(f[8:])),
		synced:      LSN(binary.BigEndian.Uint64(f[16:])),
		incarnation: binary.BigEndian.Uint32(f[24:]),
		entries:     int64(binary.BigEndian.Uint32(f[28:])),
		crc:         binary.BigEndian.Uint32(f[36:]),
	}
	ok := binary.BigEndian.Uint32(f[32:]) == 0 && h.length >= frameHeader+h.entries*entryHeader
	return h, ok
}

// checkFrame compares the frame's checksum with its bytes, padding included.
func checkFrame(f []byte, h frameHead) error {
	crc, err := sumFrame(f[:h.length], int(h.entries))
	if err != nil {
		return err
	}
	if crc != h.crc {
		return fmt.Errorf("checksum is %08x, the header says %08x", crc, h.crc)
	}
	for _, b := range f[h.length:] {
		if b != 0 {
			return fmt.Errorf("padding is not zero")
		}
	}
	return nil
}

// decodeEntries reads the entries of a frame that checkFrame accepted, and
// checks the batches' own checksums. The entries are views into f.
func decodeEntries(f []byte, h frameHead, entries []Entry) ([]Entry, error) {
	entries = entries[:0]
	rest := f[frameHeader+h.entries*entryHeader : h.length]
	for i := range int(h.entries) {
		head := f[frameHeader+i*entryHeader:]
		n := binary.BigEndian.Uint32(head[20:])
		e := Entry{
			Topic:     [16]byte(head[:16]),
			Partition: int32(binary.BigEndian.Uint32(head[16:])),
			Batches:   rest[:n:n],
		}
		rest = rest[n:]
		for left := e.Batches; len(left) > 0; {
			b, behind, err := batch.Split(left)
			if err == nil {
				err = b.CheckCRC()
			}
			if err != nil {
				return entries, fmt.Errorf("entry %d, batch at byte %d: %w", i, len(e.Batches)-len(left), err)
			}
			e.End, left = b.NextOffset(), behind
		}
		entries = append(entries, e)
	}
	if len(rest) != 0 {
		return entries, fmt.Errorf("%d bytes belong to no entry", len(rest))
	}
	return entries, nil
}
