package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Policy is how the loading of policies is doing.
type Policy struct {
	Ready       bool  // there is a policy in force
	Activations int64 // policies that came into force since the start
	Refusals    int64 // policies that were refused since the start
	Failing     bool  // the newest attempt to get a policy failed
	Rules       int   // rule ids of the policy in force
	LogDropped  int64 // decisions that OPA's decision log did not get
	LastSuccess time.Time
}

var (
	policyReady   = desc("policy_ready", "1 while there is a policy in force: no call is allowed otherwise.")
	policyTotal   = desc("policy_revisions_total", "Events: activated, refused.", "event")
	policyFailing = desc("policy_failing", "1 while the newest attempt to get a policy failed: the one before decides.")
	policyRules   = desc("policy_rules", "Rule ids of the policy in force.")
	policySuccess = desc("policy_last_success_timestamp_seconds", "When the source last gave a good policy or said that there is none newer.")
	policyAge     = desc("policy_age_seconds", "Time since then.")
	policyDropped = desc("policy_log_dropped_total", "Decisions that OPA's decision log did not get; the journal has them.")
)

var policyDescs = []*prometheus.Desc{policyReady, policyTotal, policyFailing, policyRules, policySuccess, policyAge, policyDropped}

func (p Policy) collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	flag := func(d *prometheus.Desc, v bool) {
		if v {
			gauge(d, 1)
			return
		}
		gauge(d, 0)
	}
	flag(policyReady, p.Ready)
	flag(policyFailing, p.Failing)
	gauge(policyRules, float64(p.Rules))
	if !p.LastSuccess.IsZero() {
		gauge(policySuccess, float64(p.LastSuccess.UnixMilli())/1000)
		gauge(policyAge, time.Since(p.LastSuccess).Seconds())
	}
	out <- prometheus.MustNewConstMetric(policyTotal, prometheus.CounterValue, float64(p.Activations), "activated")
	out <- prometheus.MustNewConstMetric(policyTotal, prometheus.CounterValue, float64(p.Refusals), "refused")
	out <- prometheus.MustNewConstMetric(policyDropped, prometheus.CounterValue, float64(p.LogDropped))
}
