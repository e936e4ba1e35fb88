package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

const defaultAdmin = "localhost:9644"

// adminAnswer is how long a broker may take to begin with an answer, which it
// does at once.
const adminAnswer = 10 * time.Second

// askAdmin sends a request without a body to a broker's admin address. The caller
// closes the body of the response; otherwise says what to do without it.
func askAdmin(ctx context.Context, admin, method, path, otherwise string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+admin+path, nil)
	if err != nil {
		return nil, usagef("--admin %s: %w", admin, err)
	}
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: adminAnswer}).DialContext,
		ResponseHeaderTimeout: adminAnswer, DisableKeepAlives: true,
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &exitError{ExitUnreachable, fmt.Errorf("no broker answers at %s (%w): start it with weir serve --admin %s%s", admin, err, admin, otherwise)}
	}
	return response, nil
}
