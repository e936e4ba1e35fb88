package broker

import "log/slog"

// descriptors shares out the file descriptors that the process may have. Files of
// the log come first: a connection that is not accepted can be tried again, an
// append that finds no descriptor is refused.
type descriptors struct {
	files       int // that storage keeps open; it may take twice as many for a while
	connections int
}

const (
	// keptDescriptors are for the journal, the checkpoint, listeners, and the
	// embedding program.
	keptDescriptors = 64
	// maxOpenFiles is enough for the segments of 10,000 partitions that are all
	// written to: to open and close a file for each append costs more than the
	// append. fewOpenFiles are kept even if connections then have to be fewer.
	maxOpenFiles = 16 << 10
	fewOpenFiles = 1000
)

// shareDescriptors divides a limit, 0 if it is not known, so that with all
// connections open and twice the files there are still some left.
func shareDescriptors(limit uint64, maxConnections int, logger *slog.Logger) descriptors {
	switch {
	case limit == 0:
		return descriptors{fewOpenFiles, maxConnections}
	case limit > 1<<30:
		return descriptors{maxOpenFiles, maxConnections}
	}
	free := max(4, int(limit)-keptDescriptors)
	d := descriptors{files: min(maxOpenFiles, max(min(fewOpenFiles, free/4), (free-maxConnections)/2))}
	d.connections = min(maxConnections, free-2*d.files)
	if d.connections < maxConnections {
		logger.Warn("the limit of file descriptors allows fewer connections than max.connections; raise it (ulimit -n) or lower the setting",
			"descriptors", limit, "max.connections", maxConnections, "connections", d.connections)
	}
	return d
}
