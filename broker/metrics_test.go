package broker

import (
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill puts one element into every list of an answer, and an error into each place
// that can hold one.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "ErrorCode" {
				v.Field(i).SetInt(7)
			} else if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	}
}

// TestErrorsOfEveryAPI: an API that is new in the table is not forgotten.
func TestErrorsOfEveryAPI(t *testing.T) {
	b := openForTest(t)
	for _, a := range b.apis.rows {
		if a.key == kmsg.Produce || a.key == kmsg.Fetch {
			continue // count their own
		}
		resp := a.key.Response()
		fill(reflect.ValueOf(resp).Elem())
		n := 0
		errorsOf(resp, func(code int16) {
			if code == 7 {
				n++
			}
		})
		if n == 0 {
			t.Errorf("errors of %s are not counted", a.name())
		}
	}
}

// TestMetricsOfGroups: groups by state, their memory, and errors of every API.
func TestMetricsOfGroups(t *testing.T) {
	b := openForTest(t)
	mustCreate(t, b, 1)
	if _, err := b.coordinator.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := fuzzDial(t, b)
	for i, id := range []string{"a", "b"} {
		req := joinRequest(id)
		mustWrite(t, c, encode(req, int32(i)))
		decodeAnswer(t, c, kmsg.NewPtrJoinGroupResponse(), req.Version)
	}
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Version, beat.Group, beat.MemberID = 3, "a", "nobody"
	mustWrite(t, c, encode(beat, 3))
	decodeAnswer(t, c, kmsg.NewPtrHeartbeatResponse(), 3)
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/metrics", nil))
	page := w.Body.String()
	for _, line := range []string{
		`weir_groups{protocol="classic",state="CompletingRebalance"} 2`,
		`weir_groups{protocol="classic",state="Stable"} 0`,
		`weir_groups{protocol="consumer",state="Reconciling"} 0`,
		`weir_group_events_total{event="rebalance began"} 2`,
		`weir_group_events_total{event="joined"} 2`,
		`weir_request_errors_total{api="Heartbeat",error="UNKNOWN_MEMBER_ID"} 1`,
		`weir_answer_bytes 0`,
	} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("the page has no line %q", line)
		}
	}
	if strings.Contains(page, "weir_group_member_bytes 0\n") {
		t.Error("members take no memory")
	}
}
