package broker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirstream/weir/internal/storage"
)

// compaction tells what the cleaner did since the start.
func compaction(s *storage.Store) []prometheus.Collector {
	counter := func(name, help string, read func(storage.CleanStats) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 {
			return float64(read(s.CleanStats()))
		})
	}
	return []prometheus.Collector{
		counter("weir_compaction_passes_total", "Cleanings of a partition's log.", func(c storage.CleanStats) int64 { return c.Passes }),
		counter("weir_compaction_read_bytes_total", "Bytes that compaction read.", func(c storage.CleanStats) int64 { return c.Read }),
		counter("weir_compaction_written_bytes_total", "Bytes that compaction wrote.", func(c storage.CleanStats) int64 { return c.Written }),
		counter("weir_compaction_removed_bytes_total", "Bytes that logs lost by compaction.", func(c storage.CleanStats) int64 { return c.Removed }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_uncleanable_partitions", Help: "Partitions whose logs are damaged and not compacted; tried again each hour.",
		}, func() float64 { return float64(s.CleanStats().SetAside) }),
	}
}
