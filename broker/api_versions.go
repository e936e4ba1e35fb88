package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions, key 18, v0–4.
//
//	v3  flexible, client's software name and version (KIP-511); supported
//	    and finalised features (KIP-584)
//	v4  features with a lowest version of 0 are told too
//
// A version that is not served is answered with a body of v0, error 35 and the range
// of this key alone (KIP-511), so that the client asks again: it would take all ranges
// for the answer and not learn of the features, which v0 does not have. The answer's
// header is that of v0 always, because the client does not yet know what the broker
// can read.
//
// Two features are told: group.version 1 (consumer groups, KIP-848) and
// transaction.version 2 (an epoch for each transaction, KIP-890).

func (b *Broker) apiVersions(c *call, req *kmsg.ApiVersionsRequest) {
	resp := kmsg.NewPtrApiVersionsResponse()
	if c.version >= 3 && (!softwareName(req.ClientSoftwareName) || !softwareName(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		c.reply(resp, 0)
		return
	}
	resp.ApiKeys = b.apis.ranges()
	if c.version >= 3 {
		tellFeatures(resp, c.version)
	}
	c.reply(resp, 0)
}

// tellFeatures lists what may be in force and what is (KIP-584). Clients that know no
// version but 3 cannot read a range that begins at 0 and are not told it, as in Kafka.
func tellFeatures(resp *kmsg.ApiVersionsResponse, version int16) {
	resp.FinalizedFeaturesEpoch = 0
	for _, feature := range []struct {
		name  string
		level int16
	}{{"group.version", 1}, {"transaction.version", 2}} {
		if version >= 4 {
			s := kmsg.NewApiVersionsResponseSupportedFeature()
			s.Name, s.MinVersion, s.MaxVersion = feature.name, 0, feature.level
			resp.SupportedFeatures = append(resp.SupportedFeatures, s)
		}
		f := kmsg.NewApiVersionsResponseFinalizedFeature()
		f.Name, f.MinVersionLevel, f.MaxVersionLevel = feature.name, feature.level, feature.level
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, f)
	}
}

// unknownAPIVersions answers an ApiVersions request of a version not served.
func (c *conn) unknownAPIVersions(h header) *slot {
	h.version = 0
	a := c.b.apis.byKey[h.key]
	s := c.newSlot(h, a)
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	resp.ApiKeys = append(resp.ApiKeys, a.versions())
	s.call.reply(resp, 0)
	return s
}

// ranges lists what is served.
func (t *apiTable) ranges() []kmsg.ApiVersionsResponseApiKey {
	out := make([]kmsg.ApiVersionsResponseApiKey, 0, len(t.rows))
	for i := range t.rows {
		out = append(out, t.rows[i].versions())
	}
	return out
}

// versions is what clients are told of an API.
func (a *api) versions() kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = a.key.Int16(), a.advertisedMin(), a.max
	return k
}

// softwareName is Kafka's rule for a client's name and version:
// [a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?
func softwareName(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case (c == '-' || c == '.') && i > 0 && i < len(s)-1:
		default:
			return false
		}
	}
	return true
}
