package broker_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weirstream/weir/broker/brokertest"
)

// TestHandlerRefusesForeignHosts: a page in a browser cannot read the admin
// endpoints under a name that it points at this machine.
func TestHandlerRefusesForeignHosts(t *testing.T) {
	handler := brokertest.Start(t).Broker().Handler()
	local := &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 9644}
	for host, want := range map[string]int{
		"localhost": 200, "LocalHost:9644": 200, "127.0.0.1:9644": 200, "127.1.2.3": 200, "[::1]:9644": 200, "[::1]": 200, "192.0.2.7:1": 200,
		"": 403, "evil.example": 403, "evil.example:9644": 403, "192.0.2.8": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403,
	} {
		for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/cmdline"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local))))
			if w.Code != want {
				t.Errorf("host %q, %s: %d, want %d", host, path, w.Code, want)
			}
		}
	}
}
