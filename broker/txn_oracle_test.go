package broker_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirstream/weir/broker/brokertest"
	"github.com/weirstream/weir/internal/batch"
)

// TestTransactionsAnswerAsKafka replays testdata/kafka-4.3.1-transactions.txt: requests, and
// what Apache Kafka 4.3.1 answered to them. Where a producer was told to wait
// (CONCURRENT_TRANSACTIONS, COORDINATOR_LOAD_IN_PROGRESS) it asked again; PrepareCommit and
// PrepareAbort are written as what comes of them.
func TestTransactionsAnswerAsKafka(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := brokertest.Start(t)
		createTopic(t, b, "t", 3)
		c := dialBubble(t, b)
		c.findCoordinator(0)
		c.findCoordinator(1)
		f, err := os.Open("testdata/kafka-4.3.1-transactions.txt")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		o := &oracle{rawConn: c, producers: map[string]*rawTxn{}}
		n, lines := 0, bufio.NewScanner(f)
		for lines.Scan() {
			n++
			request, want, ok := strings.Cut(lines.Text(), " → ")
			if request == "" || strings.HasPrefix(request, "#") {
				continue
			}
			got := o.do(strings.Fields(request))
			if ok && got != strings.TrimSpace(want) {
				t.Errorf("line %d: %s: %q, Kafka says %q", n, strings.Join(strings.Fields(request), " "), got, strings.TrimSpace(want))
			}
		}
		if n < 100 {
			t.Errorf("%d lines", n)
		}
	})
}

// oracle is who sends what the file says.
type oracle struct {
	*rawConn
	producers map[string]*rawTxn
}

// do runs a line: a producer, a request, and its arguments. "x = y -1" makes a producer that
// has what another one has, with another epoch.
func (o *oracle) do(words []string) string {
	name, request, rest := words[0], words[1], words[2:]
	x := o.producers[name]
	if x == nil {
		x = &rawTxn{rawConn: o.rawConn, id: name, pid: -1, epoch: -1, next: map[string]int32{}}
		if name == "nameless" {
			x.id, x.pid, x.epoch = "", 1_000_000, 0
		}
		o.producers[name] = x
	}
	opt := map[string]string{}
	var args []string
	for _, w := range rest {
		if k, v, ok := strings.Cut(w, "="); ok {
			opt[k] = v
		} else {
			args = append(args, w)
		}
	}
	version := int16(o.num(opt["v"], 0))
	switch request {
	case "=":
		*x = *o.producers[args[0]]
		x.next = maps.Clone(x.next)
		x.epoch += int16(o.num(args[1], 0))
		x.pid += int64(o.num(opt["pid"], 0))
		return ""
	case "wait":
		time.Sleep(time.Duration(o.num(args[0], 0)) * time.Second)
		return ""
	case "init":
		return x.oracleInit(version, int32(o.num(opt["timeout"], 60_000)), o.num(opt["pid"], -1), o.num(opt["epoch"], -1))
	case "go-on":
		return x.oracleInit(version, 1000, int(x.pid), int(x.epoch))
	case "add":
		return x.oracleAdd(version, args[0], args[1:])
	case "add-offsets":
		req := kmsg.NewPtrAddOffsetsToTxnRequest()
		req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = version, x.id, x.pid, x.epoch, args[0]
		return said(ask[*kmsg.AddOffsetsToTxnResponse](o.rawConn, req).ErrorCode)
	case "offsets":
		return said(pended(ask[*kmsg.TxnOffsetCommitResponse](o.rawConn, x.pendRequest(version, args[0], args[1], 5))))
	case "produce":
		return x.oracleProduce(version, args[0], o.num(args[1], 0), opt)
	case "commit", "abort":
		return x.oracleEnd(version, request == "commit")
	case "describe":
		return x.oracleDescribe()
	case "list":
		return o.list(opt)
	}
	o.t.Fatalf("unknown request %q", request)
	return ""
}

func (o *oracle) num(s string, def int) int {
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

func said(code int16) string {
	if code == 0 {
		return "ok"
	}
	return kerr.TypedErrorForCode(code).Message
}

func (x *rawTxn) oracleInit(version int16, timeout int32, pid, epoch int) string {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = version, &x.id, timeout
	req.ProducerID, req.ProducerEpoch = int64(pid), int16(epoch)
	resp := ask[*kmsg.InitProducerIDResponse](x.rawConn, req)
	if resp.ErrorCode != 0 {
		return said(resp.ErrorCode)
	}
	x.pid, x.epoch = resp.ProducerID, resp.ProducerEpoch
	clear(x.next)
	return fmt.Sprint("ok, epoch ", x.epoch)
}

func (x *rawTxn) oracleAdd(version int16, topic string, partitions []string) string {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = version, x.id, x.pid, x.epoch
	rt := kmsg.NewAddPartitionsToTxnRequestTopic()
	rt.Topic = topic
	for _, p := range partitions {
		n, err := strconv.Atoi(p)
		if err != nil {
			x.t.Fatal(err)
		}
		rt.Partitions = append(rt.Partitions, int32(n))
	}
	req.Topics = append(req.Topics, rt)
	var codes []string
	for _, p := range ask[*kmsg.AddPartitionsToTxnResponse](x.rawConn, req).Topics[0].Partitions {
		codes = append(codes, said(p.ErrorCode))
	}
	return strings.Join(codes, " ")
}

// oracleProduce appends a batch; plain=true one that is not transactional, id=none without
// the transactional id.
func (x *rawTxn) oracleProduce(version int16, topic string, partition int, opt map[string]string) string {
	key := fmt.Sprint(topic, partition)
	b := batch.Build(batch.BuildOptions{
		Transactional: opt["plain"] == "", Producer: &batch.Producer{ID: x.pid, Epoch: x.epoch, Sequence: x.next[key]},
	}, batch.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("v")})
	req := produceRequest(version, -1, topic, int32(partition), b)
	if opt["id"] != "none" {
		req.TransactionID = &x.id
	}
	code := produced(ask[*kmsg.ProduceResponse](x.rawConn, req)).ErrorCode
	if code == 0 {
		x.next[key]++
	}
	return said(code)
}

func (x *rawTxn) oracleEnd(version int16, commit bool) string {
	resp := ask[*kmsg.EndTxnResponse](x.rawConn, x.endRequest(version, commit))
	if resp.ErrorCode != 0 || version < 5 {
		return said(resp.ErrorCode)
	}
	x.pid, x.epoch = resp.ProducerID, resp.ProducerEpoch
	clear(x.next)
	return fmt.Sprint("ok, epoch ", x.epoch)
}

func (x *rawTxn) oracleDescribe() string {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{x.id}
	d := ask[*kmsg.DescribeTransactionsResponse](x.rawConn, req).TransactionStates[0]
	if d.ErrorCode != 0 {
		return said(d.ErrorCode)
	}
	out := fmt.Sprintf("%s, epoch %d, timeout %d, began %t", d.State, d.ProducerEpoch, d.TimeoutMillis, d.StartTimestamp > 0)
	for _, t := range d.Topics {
		slices.Sort(t.Partitions)
		out += fmt.Sprint(", ", t.Topic, " ", t.Partitions)
	}
	return out
}

func (o *oracle) list(opt map[string]string) string {
	req := kmsg.NewPtrListTransactionsRequest()
	req.Version, req.DurationFilterMillis = 2, int64(o.num(opt["longer"], -1))
	if s := opt["states"]; s != "" {
		req.StateFilters = strings.Split(s, ",")
	}
	if p, ok := opt["pattern"]; ok {
		req.TransactionalIDPattern = &p
	}
	resp := ask[*kmsg.ListTransactionsResponse](o.rawConn, req)
	if resp.ErrorCode != 0 {
		return said(resp.ErrorCode)
	}
	out := "ok"
	for _, s := range resp.UnknownStateFilters {
		out += ", unknown " + s
	}
	ids := make([]string, 0, len(resp.TransactionStates))
	for _, s := range resp.TransactionStates {
		ids = append(ids, s.TransactionalID)
	}
	slices.Sort(ids)
	return out + ", " + fmt.Sprint(ids)
}
