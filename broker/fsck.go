package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
	"github.com/weirstream/weir/internal/storage"
	"github.com/weirstream/weir/internal/vfs"
)

// CheckReport is what Check and Salvage found in a data directory.
type CheckReport = storage.CheckReport

// Check reads everything in a data directory that no broker has open, changes
// nothing, and reports what is wrong. An error means that it could not be checked;
// it wraps vfs.ErrLocked if a broker has the directory open, and fs.ErrNotExist if
// there is no data. A nil fsys is the operating system's.
func Check(ctx context.Context, fsys vfs.FS, dir string) (*CheckReport, error) {
	return storage.Check(ctx, checkConfig(fsys, dir))
}

// Salvage is Check that copies all that is good into out, a directory that does
// not exist or is empty. Offsets stay what they were. What could not be copied is
// in the report's Lost.
func Salvage(ctx context.Context, fsys vfs.FS, dir, out string) (*CheckReport, error) {
	return storage.Salvage(ctx, checkConfig(fsys, dir), out)
}

func checkConfig(fsys vfs.FS, dir string) storage.CheckConfig {
	if fsys == nil {
		fsys = vfs.ReadingOS()
	}
	return storage.CheckConfig{FS: fsys, Dir: dir, Catalog: &catalog{image: meta.NewImage(), deleted: map[[16]byte]bool{}}}
}

// catalog folds a metadata log that may be damaged.
type catalog struct {
	image   *meta.Image
	deleted map[[16]byte]bool
}

var _ storage.Catalog = (*catalog)(nil)

func (c *catalog) Apply(b batch.Batch) error {
	var errs []error
	for r, err := range b.Records(meta.MaxMessageBytes) {
		if err == nil {
			err = c.apply(r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("offset %d: %w", r.Offset, err))
		}
	}
	return errors.Join(errs...)
}

func (c *catalog) apply(r batch.Record) error {
	record, err := meta.Decode(r.Key, r.Value)
	if err != nil {
		return err
	}
	if d, ok := record.(meta.TopicDeletedRecord); ok {
		c.deleted[d.ID] = true
	}
	img, err := c.image.Apply(record)
	if err != nil {
		return err
	}
	c.image = img
	return nil
}

func (c *catalog) Topics() []storage.TopicSpec {
	var specs []storage.TopicSpec
	for _, t := range c.image.Topics() {
		specs = append(specs, storage.TopicSpec{ID: t.ID, Name: t.Name, Partitions: t.Partitions, Starts: c.image.LogStarts(t)})
	}
	return specs
}

// Adopt names a topic whose record is lost after its id.
func (c *catalog) Adopt(id storage.TopicID, partitions int32) (storage.TopicSpec, bool) {
	if c.deleted[id] {
		return storage.TopicSpec{}, false
	}
	name := "salvaged." + meta.FormatID(id)
	img, err := c.image.Apply(meta.TopicRecord{Name: name, ID: id, Partitions: partitions})
	if err != nil {
		return storage.TopicSpec{}, false
	}
	c.image = img
	return storage.TopicSpec{ID: id, Name: name, Partitions: partitions}, true
}

// idsSkipped is how many producer ids are left out when the record of the last
// one given out may be lost: far more than are given between two appends.
const idsSkipped = 1_000_000

func (c *catalog) Rebuild(nextProducerID int64) batch.Batch {
	var records []meta.Record
	if id := c.image.ClusterID(); id != "" {
		records = append(records, meta.ClusterRecord{ClusterID: id})
	}
	next := max(c.image.NextProducerID(), nextProducerID) + idsSkipped
	records = append(records, meta.ProducerIDsRecord{Next: next})
	for _, t := range c.image.Topics() {
		records = append(records, meta.TopicRecord{Name: t.Name, ID: t.ID, Partitions: t.Partitions, Configs: t.Configs})
		var starts []meta.LogStart
		for n, offset := range c.image.LogStarts(t) {
			if offset > 0 {
				starts = append(starts, meta.LogStart{Partition: int32(n), Offset: offset})
			}
		}
		if len(starts) > 0 {
			records = append(records, meta.LogStartRecord{ID: t.ID, Starts: starts})
		}
	}
	for _, id := range c.image.ConfiguredGroups() {
		records = append(records, meta.GroupConfigsRecord{Name: id, Configs: c.image.GroupConfigs(id)})
	}
	now := time.Now().UnixMilli()
	out := make([]batch.Record, 0, len(records))
	for _, r := range records {
		key, value := meta.Encode(r)
		out = append(out, batch.Record{Timestamp: now, Key: key, Value: value})
	}
	return batch.Build(batch.BuildOptions{}, out...)
}
