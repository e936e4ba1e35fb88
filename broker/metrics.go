package broker

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/internal/batch"
	"github.com/weirstream/weir/internal/meta"
)

// metrics are the broker's own, on a registry of their own, so that two brokers
// in one process do not meet.
type metrics struct {
	registry       *prometheus.Registry
	errors         *prometheus.CounterVec
	closes         *prometheus.CounterVec
	connections    prometheus.Counter
	panics         prometheus.Counter
	recovery       prometheus.Gauge
	produceRecords *prometheus.CounterVec
	produceBytes   *prometheus.CounterVec
	fetchBytes     *prometheus.CounterVec
	deletedBytes   *prometheus.CounterVec
	groupEvents    *prometheus.CounterVec
	txnEnds        *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		errors:   counters("weir_request_errors_total", "Errors answered, for each topic, partition, group or whole request that has one.", "api", "error"),
		closes:   counters("weir_connections_closed_total", "Connections closed by the broker, by reason.", "reason"),
		connections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_connections_total", Help: "Connections accepted."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_panics_total", Help: "Defects that ended a connection."}),
		recovery: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_recovery_seconds", Help: "Time from the start to being ready."}),
		produceRecords: counters("weir_produce_records_total", "Records appended by clients.", "topic"),
		produceBytes:   counters("weir_produce_bytes_total", "Bytes of record batches appended by clients.", "topic"),
		deletedBytes:   counters("weir_log_deleted_bytes_total", "Bytes of segments that left their logs by retention or DeleteRecords.", "topic"),
		groupEvents:    counters("weir_group_events_total", "What happened to consumer groups: members that joined, left or timed out, rebalances, and what else a group's timeline tells.", "event"),
		txnEnds:        counters("weir_transactions_total", "Transactions that ended, by how and why: the producer said so, its time was up, another producer with its id came, or a restart found the decision.", "result", "reason"),
		fetchBytes:     counters("weir_fetch_bytes_total", "Bytes of record batches sent to clients.", "topic"),
	}
	m.registry.MustRegister(m.errors, m.closes, m.connections, m.panics, m.recovery, m.produceRecords, m.produceBytes, m.fetchBytes, m.deletedBytes, m.groupEvents, m.txnEnds)
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// complete adds what needs the opened broker.
func (m *metrics) complete(b *Broker) {
	m.registry.MustRegister(gauges(b)...)
	m.registry.MustRegister(compaction(b.store)...)
	m.registry.MustRegister(newGroupMetrics(b.coordinator))
	m.registry.MustRegister(transactionGauges(b.txns)...)
	m.timeRequests(b.apis)
}

// gauges are read when they are asked for.
func gauges(b *Broker) []prometheus.Collector {
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "weir_broker_info", Help: "Always 1; the labels tell version and cluster.",
		ConstLabels: prometheus.Labels{"version": b.cfg.Version, "cluster_id": b.ClusterID()},
	})
	info.Set(1)
	return []prometheus.Collector{
		info,
		gauge("weir_connections", "Open connections.", func() float64 {
			b.mu.Lock()
			defer b.mu.Unlock()
			return float64(len(b.mu.conns))
		}),
		gauge("weir_inflight_request_bytes", "Memory taken by requests being read and served.", func() float64 {
			return float64(b.budget.inUse())
		}),
		gauge("weir_answer_bytes", "Memory taken by answers being made and waiting to be read, beyond each connection's own share.", func() float64 {
			return float64(b.answers.inUse())
		}),
		gauge("weir_fetch_sessions", "Incremental fetch sessions.", func() float64 {
			n, _ := b.sessions.counts()
			return float64(n)
		}),
		gauge("weir_fetch_session_partitions", "Partitions of all incremental fetch sessions.", func() float64 {
			_, n := b.sessions.counts()
			return float64(n)
		}),
		gauge("weir_topics", "Topics.", func() float64 { return float64(b.metadata.image().TopicCount()) }),
		gauge("weir_partitions", "Partitions of all topics.", func() float64 { return float64(b.metadata.image().PartitionCount()) }),
		gauge("weir_producers", "Idempotent producers that are remembered, each counted in every partition that it wrote to.", func() float64 {
			return float64(b.store.Producers())
		}),
		gauge("weir_disk_free_bytes", "Bytes free on the file system of the data directory.", func() float64 {
			u, err := b.cfg.FS.Usage(b.cfg.Dir)
			if err != nil {
				return -1
			}
			return float64(u.Free)
		}),
		gauge("weir_disk_reserve_ok", "1 while the reserve against a full disk stands; at 0 appends are refused.", func() float64 {
			return number(b.store.ReserveStands())
		}),
		gauge("weir_storage_failed", "1 after storage failed: nothing more is written until a restart.", func() float64 {
			return number(b.store.Err() != nil)
		}),
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// timeRequests gives each row of the API table its histogram.
func (m *metrics) timeRequests(apis *apiTable) {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "weir_request_duration_seconds", Help: "Time from the end of reading a request to its answer being handed to the socket.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10), NativeHistogramBucketFactor: 1.1,
	}, []string{"api"})
	m.registry.MustRegister(seconds)
	for i := range apis.rows {
		apis.rows[i].seconds = seconds.WithLabelValues(apis.rows[i].name())
	}
}

func (m *metrics) closed(reason string) { m.closes.WithLabelValues(reason).Inc() }

func (b *Broker) metricsConnected() { b.metrics.connections.Inc() }

// failed counts an error that a client is told of a partition.
func (m *metrics) failed(key kmsg.Key, code int16) {
	name := "UNKNOWN_SERVER_ERROR"
	if e := (*kerr.Error)(nil); errors.As(kerr.ErrorForCode(code), &e) {
		name = e.Message
	}
	m.errors.WithLabelValues(apiName(key.Int16()), name).Inc()
}

// topicMetrics are the counters of one topic.
type topicMetrics struct{ records, bytes, fetched, deleted prometheus.Counter }

func (m *metrics) topic(name string) *topicMetrics {
	return &topicMetrics{
		m.produceRecords.WithLabelValues(name), m.produceBytes.WithLabelValues(name),
		m.fetchBytes.WithLabelValues(name), m.deletedBytes.WithLabelValues(name),
	}
}

// forget drops the series of a deleted topic.
func (m *metrics) forget(t *meta.Topic) {
	m.produceRecords.DeleteLabelValues(t.Name)
	m.produceBytes.DeleteLabelValues(t.Name)
	m.fetchBytes.DeleteLabelValues(t.Name)
	m.deletedBytes.DeleteLabelValues(t.Name)
}

func (t *topicMetrics) produced(b batch.Batch) {
	t.records.Add(float64(b.Count()))
	t.bytes.Add(float64(len(b)))
}

// count adds up what a Fetch answer told.
func (f *fetch) count(m *metrics) {
	for i := range f.topics {
		t, n := &f.topics[i], 0
		for k := t.parts.from; k < t.parts.to; k++ {
			p := &f.partitions[k]
			n += p.extent.Len()
			if p.code != 0 {
				m.failed(kmsg.Fetch, p.code)
			}
		}
		if n > 0 {
			t.topic.metrics.fetched.Add(float64(n))
		}
	}
}

// Handler serves what an operator asks: /healthz, /readyz, /metrics, /debug/pprof/
// /groups/{group}/timeline, /transactions (those that are open) and, with POST, /backup,
// which answers with an archive. It is for a listener that only operators reach. A request must name this machine or the listener's own
// address: a page in an operator's browser could otherwise read it under a name
// that it points here.
func (b *Broker) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { b.health(w, b.alive()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { b.health(w, b.Ready()) })
	mux.HandleFunc("POST /backup", b.serveBackup)
	mux.HandleFunc("GET /groups/{group}/timeline", b.serveTimeline)
	mux.HandleFunc("GET /transactions", b.serveOpenTransactions)
	mux.Handle("GET /metrics", promhttp.HandlerFor(b.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownHost(r) {
			http.Error(w, fmt.Sprintf("host %q is not this listener: ask for localhost or the listener's address", r.Host), http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// ownHost tells whether the request names a loopback address or the address
// that it came in on.
func ownHost(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ip != nil && (ip.IsLoopback() || local != nil && ip.Equal(local.IP))
}

// alive says why the process should be ended, or nil. A broker that serves what is
// durable after a failure is alive, and not ready.
func (b *Broker) alive() error {
	if b.cfg.ReadOnlyOnFailure {
		return nil
	}
	return b.Err()
}

// Ready says why the broker does not serve everything, or nil: it stops, storage
// has failed, or the free space is below the reserve, so that only reads, offset
// commits and deletions are served.
func (b *Broker) Ready() error {
	if b.isStopping() {
		return errStopping
	}
	return b.store.Writable()
}

func (b *Broker) health(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n")) // the asker is gone if it fails
}
