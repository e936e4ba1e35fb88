package broker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirstream/weir/internal/txn"
)

// transactionEnded counts an end.
func (m *metrics) transactionEnded(kind txn.Kind, reason txn.Reason) {
	how := "commit"
	if kind == txn.Aborted {
		how = "abort"
	}
	m.txnEnds.WithLabelValues(how, string(reason)).Inc()
}

// transactionGauges are read when they are asked for.
func transactionGauges(t *transactions) []prometheus.Collector {
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	return []prometheus.Collector{
		gauge("weir_transactional_ids", "Transactional ids that are remembered.", func() float64 { return float64(t.ids.Load()) }),
		gauge("weir_open_transactions", "Transactions that are open.", func() float64 { return float64(t.open.count()) }),
	}
}
