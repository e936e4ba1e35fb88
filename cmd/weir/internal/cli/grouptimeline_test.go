package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirstream/weir/broker/brokertest"
)

// adminOf answers each path with a status and a body.
func adminOf(t *testing.T, status int, body string) (address string, asked *[]string) {
	t.Helper()
	var paths []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.Method+" "+r.URL.EscapedPath())
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), &paths
}

func TestTimeline(t *testing.T) {
	admin, asked := adminOf(t, http.StatusOK, `{"group":"a/b","events":[
		{"time":"2026-11-25T05:43:00.123456789Z","kind":"joined","generation":1,"memberId":"m-1","clientId":"c","clientHost":"/127.0.0.1","reason":"a new member"},
		{"time":"2026-11-25T06:43:02+01:00","kind":"became stable","generation":2,"durationMs":12.5,"partitionsMoved":0,"members":3,"unknown":1}]}`)
	r := run(t.Context(), Env{}, "group", "timeline", "a/b", "--admin", admin)
	want := "TIME                      EVENT          EPOCH  MEMBERS  CLIENT-ID  DURATION-MS  MOVED  REASON\n" +
		"2026-11-25T05:43:00.123Z  joined         1      -        c          -            -      a new member\n" +
		"2026-11-25T05:43:02.000Z  became stable  2      3        -          12.5         0      -\n"
	if r.code != ExitOK || r.out != want {
		t.Errorf("code %d, said %q, printed\n%s", r.code, r.errOut, r.out)
	}
	if got := strings.Join(*asked, " "); got != "GET /groups/a%2Fb/timeline" {
		t.Errorf("asked %s", got)
	}
	r = run(t.Context(), Env{}, "group", "timeline", "a/b", "--admin", admin, "-O", "json")
	for _, says := range []string{`"kind": "GroupTimeline"`, `"member": "m-1"`, `"host": "/127.0.0.1"`, `"duration_ms": 12.5`, `"moved": null`} {
		if !strings.Contains(r.out, says) {
			t.Errorf("%s is not in\n%s", says, r.out)
		}
	}
}

func TestTimelineFails(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		says   string
	}{
		{http.StatusNotFound, `{"error":"group \"g\" has no timeline: it never had members"}`, `group "g" has no timeline`},
		{http.StatusServiceUnavailable, `{"error":"the coordinator is loading"}`, "the coordinator is loading"},
		{http.StatusNotFound, "404 page not found\n", "has no timelines (404 Not Found): name the admin address"},
		{http.StatusOK, "<html>", "answers no timeline"},
		{http.StatusOK, `{"events":[` + strings.Repeat(" ", maxTimeline) + "]}", "answers no timeline"},
	} {
		admin, _ := adminOf(t, c.status, c.body)
		r := run(t.Context(), Env{}, "group", "timeline", "g", "--admin", admin)
		if r.code != ExitFailed || !strings.Contains(r.errOut, c.says) || r.out != "" {
			t.Errorf("%d: code %d, said %q, printed %q; want %q", c.status, r.code, r.errOut, r.out, c.says)
		}
	}
	server := httptest.NewServer(nil)
	server.Close()
	admin := strings.TrimPrefix(server.URL, "http://")
	if r := run(t.Context(), Env{}, "group", "timeline", "g", "--admin", admin); r.code != ExitUnreachable || !strings.Contains(r.errOut, "weir serve --admin "+admin) {
		t.Errorf("nobody there: code %d, said %q", r.code, r.errOut)
	}
}

// TestTimelineOfTheBroker: what weir's own broker tells is understood.
func TestTimelineOfTheBroker(t *testing.T) {
	b := brokertest.Start(t)
	env := against(b)
	mustRun(t, env, "topic create t -p 1")
	member(t, b, kgo.ClientID("worker"))()
	server := httptest.NewServer(b.Broker().Handler())
	defer server.Close()
	admin := strings.TrimPrefix(server.URL, "http://")
	out := mustRun(t, env, "group timeline g -O csv --admin "+admin)
	for _, says := range []string{",joined,", ",worker,", ",became stable,", ",left,"} {
		if !strings.Contains(out, says) {
			t.Errorf("%q is not in\n%s", says, out)
		}
	}
	r := run(t.Context(), env, "group", "timeline", "nobody", "--admin", admin)
	if r.code != ExitFailed || !strings.Contains(r.errOut, "weir group list") {
		t.Errorf("code %d, said %q", r.code, r.errOut)
	}
}
