package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// PolicySources say where the policy comes from, if not from a directory. At most
// one of dir, bundle_file and bundles is given.
type PolicySources struct {
	// BundleFile is the absolute path of a bundle (.tar.gz), which is watched. Default:
	// none.
	BundleFile string `json:"bundle_file"`
	// Bundles are fetched from Services, by a name of yours, each as OPA configures
	// them: service, resource, polling, persist. All of them together are the policy;
	// their roots must not overlap. Default: none.
	Bundles map[string]PolicyBundle `json:"bundles"`
	// Services are OPA's, passed on as they are: url, type (oci for a registry),
	// credentials, tls, headers. A secret is better named by the file that it is in.
	// Default: none.
	Services map[string]map[string]any `json:"services"`
	// Verification says which signatures a policy must have.
	Verification Verification `json:"verification"`
	// OPA is passed on to OPA's own plugins for collectors that you have.
	OPA OPAPlugins `json:"opa"`
}

// PolicyBundle is one bundle of a service.
type PolicyBundle struct {
	// Service is one of services. Required.
	Service string `json:"service"`
	// Resource is the path below the service's url, or of a registry the whole reference
	// (registry.example/team/policy:prod). Required.
	Resource string `json:"resource"`
	// PollMin and PollMax are how long to wait between two requests, at random between
	// them, 1s to 24h. Default 10s and 30s. OPA counts in whole seconds.
	PollMin Duration `json:"poll_min"`
	PollMax Duration `json:"poll_max"`
	// LongPoll is how long the server may hold a request until there is something new,
	// for servers that can. Default: not.
	LongPoll Duration `json:"long_poll"`
	// Persist keeps the bundle for a start without the server. Default true. A service
	// that sends deltas needs false, since OPA keeps none.
	Persist *bool `json:"persist"`
}

// Verification says which signatures a policy must have. Once there is a key,
// whatever is not signed with one is refused, wherever it comes from; only the
// built-in library needs no signature.
type Verification struct {
	// Keys by the id that signatures name. Default: none, signatures are not looked at.
	Keys map[string]VerificationKey `json:"keys"`
	// KeyID is the only key that is taken. Default: the one that the signature names.
	KeyID string `json:"key_id"`
	// Scope that signatures must have. Default: none.
	Scope string `json:"scope"`
}

// VerificationKey is a public key.
type VerificationKey struct {
	// File is the absolute path of the key or certificate in PEM, or of the shared
	// secret. Required.
	File string `json:"file"`
	// Algorithm of the signatures. Default: ES256, RS256 and so on by the type of the key.
	Algorithm string `json:"algorithm"`
}

// OPAPlugins are OPA's own plugins.
type OPAPlugins struct {
	// DecisionLogs sends decisions to a collector that takes OPA's decision logs: OPA's
	// decision_logs as it is. It may lose some; the journal does not. Default: none.
	DecisionLogs map[string]any `json:"decision_logs"`
	// Status sends the state of the bundles: OPA's status as it is. Default: none.
	Status map[string]any `json:"status"`
	// Labels are in each log entry and status. Default: none.
	Labels map[string]string `json:"labels"`
}

var bundleName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)

// problems reports every key of policy that is wrong.
func (p *Policy) problems() []string {
	var bad []string
	given := 0
	for _, here := range []bool{p.Dir != "", p.BundleFile != "", len(p.Bundles) > 0} {
		if here {
			given++
		}
	}
	if given > 1 {
		bad = append(bad, "policy: dir, bundle_file and bundles: want one of them")
	}
	if p.BundleFile != "" {
		bad = append(bad, pathProblems("policy.bundle_file", p.BundleFile)...)
	}
	for _, name := range sortedKeys(p.Bundles) {
		key := "policy.bundles." + name
		if !bundleName.MatchString(name) {
			bad = append(bad, fmt.Sprintf("policy.bundles: %q: want a name of 1 to 64 characters of [a-zA-Z0-9_.-]", name))
		}
		b := p.Bundles[name]
		bad = append(bad, b.problems(key, p)...)
	}
	for _, id := range sortedKeys(p.Verification.Keys) {
		key := "policy.verification.keys." + id + ".file"
		if file := p.Verification.Keys[id].File; file == "" {
			bad = append(bad, key+": is missing")
		} else {
			bad = append(bad, pathProblems(key, file)...)
		}
	}
	if _, known := p.Verification.Keys[p.Verification.KeyID]; p.Verification.KeyID != "" && !known {
		bad = append(bad, fmt.Sprintf("policy.verification.key_id: %q is none of the keys", p.Verification.KeyID))
	}
	if p.Verification.Scope != "" && len(p.Verification.Keys) == 0 {
		bad = append(bad, "policy.verification.scope: does nothing without keys")
	}
	for section, plugin := range map[string]map[string]any{"decision_logs": p.OPA.DecisionLogs, "status": p.OPA.Status} {
		if service, _ := plugin["service"].(string); service != "" && p.Services[service] == nil {
			bad = append(bad, fmt.Sprintf("policy.opa.%s.service: %q is none of policy.services (%s)", section, service, strings.Join(sortedKeys(p.Services), ", ")))
		}
	}
	for _, name := range sortedKeys(p.Services) {
		if url, _ := p.Services[name]["url"].(string); url == "" {
			bad = append(bad, fmt.Sprintf("policy.services.%s.url: is missing", name))
		}
	}
	slices.Sort(bad)
	return bad
}

func (b *PolicyBundle) problems(key string, p *Policy) []string {
	var bad []string
	if b.Resource == "" {
		bad = append(bad, key+".resource: is missing")
	}
	if p.Services[b.Service] == nil {
		bad = append(bad, fmt.Sprintf("%s.service: %q is none of policy.services (%s)", key, b.Service, strings.Join(sortedKeys(p.Services), ", ")))
	}
	bad = append(bad, outside(key+".poll_min", int64(b.PollMin), int64(time.Second), int64(24*time.Hour), span)...)
	bad = append(bad, outside(key+".poll_max", int64(b.PollMax), int64(b.PollMin), int64(24*time.Hour), span)...)
	if b.LongPoll != 0 {
		bad = append(bad, outside(key+".long_poll", int64(b.LongPoll), int64(time.Second), int64(time.Hour), span)...)
	}
	return bad
}

func (p Policy) withDefaults() Policy {
	if len(p.Bundles) == 0 {
		return p
	}
	bundles := make(map[string]PolicyBundle, len(p.Bundles))
	for name, b := range p.Bundles {
		fill(&b.PollMin, Duration(10*time.Second))
		fill(&b.PollMax, max(b.PollMin, Duration(30*time.Second)))
		bundles[name] = b
	}
	p.Bundles = bundles
	return p
}

// Bundle is the bundle in OPA's words.
func (b PolicyBundle) Bundle() map[string]any {
	seconds := func(d Duration) int64 { return int64(d.Std().Round(time.Second) / time.Second) }
	polling := map[string]any{"min_delay_seconds": seconds(b.PollMin), "max_delay_seconds": seconds(b.PollMax)}
	if b.LongPoll > 0 {
		polling["long_polling_timeout_seconds"] = seconds(b.LongPoll)
	}
	out := map[string]any{"service": b.Service, "resource": b.Resource, "polling": polling}
	if b.Persist != nil {
		out["persist"] = *b.Persist
	}
	return out
}

// PolicyCache is where fetched bundles are kept.
func (c *Config) PolicyCache() string { return filepath.Join(c.DataDir, "policy") }
