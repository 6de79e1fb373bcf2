package rpc

import (
	"github.com/sandgate/sandgate/internal/gate"
	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

// changesProto lists what a call changed; nil is not known.
func changesProto(c *gate.Changes) *sandgatev1.Changes {
	if c == nil {
		return nil
	}
	return &sandgatev1.Changes{
		Created: validTexts(c.Created), Modified: validTexts(c.Modified), Deleted: validTexts(c.Deleted), Truncated: c.Truncated, Shared: c.Shared,
	}
}

// changesUnknownProto says why they are not told; what the contract does not name is a
// failure.
func changesUnknownProto(why gate.ChangesUnknown) sandgatev1.ChangesUnknown {
	if why == "" {
		return sandgatev1.ChangesUnknown_CHANGES_UNKNOWN_UNSPECIFIED
	}
	if v, ok := sandgatev1.ChangesUnknown_value["CHANGES_UNKNOWN_"+string(why)]; ok && v != 0 {
		return sandgatev1.ChangesUnknown(v)
	}
	return sandgatev1.ChangesUnknown_CHANGES_UNKNOWN_FAILED
}

func validTexts(texts []string) []string {
	out := make([]string, 0, len(texts))
	for _, t := range texts {
		out = append(out, validText(t))
	}
	return out
}

// effectsProto tells what became of the changes of a transactional call.
func effectsProto(e *gate.Effects) *sandgatev1.Effects {
	if e == nil {
		return nil
	}
	state, ok := sandgatev1.EffectsState_value["EFFECTS_STATE_"+string(e.State)]
	if !ok || state == 0 {
		state = int32(sandgatev1.EffectsState_EFFECTS_STATE_UNKNOWN)
	}
	return &sandgatev1.Effects{
		State: sandgatev1.EffectsState(state), Reasons: reasonsProto(e.Reasons), PolicyRevision: e.Revision, Digest: e.Digest,
		CreatedCount: int64(e.Totals.Created), ModifiedCount: int64(e.Totals.Modified), DeletedCount: int64(e.Totals.Deleted),
		TotalBytes: e.Totals.Bytes, Paths: validTexts(e.Paths),
	}
}
