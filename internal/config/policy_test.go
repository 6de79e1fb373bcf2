package config

import (
	"strings"
	"testing"
)

func TestPolicySources(t *testing.T) {
	const services = "services: {c: {url: \"https://policy.example\"}}, "
	for _, c := range []struct{ yaml, want string }{
		{"policy: {bundle_file: /etc/p.tar.gz}", ""},
		{"policy: {" + services + "bundles: {main: {service: c, resource: main.tar.gz}}}", ""},
		{"policy: {" + services + "opa: {decision_logs: {service: c, reporting: {min_delay_seconds: 1, max_delay_seconds: 2}}}}", ""},
		{"policy: {verification: {keys: {prod: {file: /etc/k.pem}}, key_id: prod}}", ""},
		{"policy: {dir: /etc/p, bundle_file: /etc/p.tar.gz}", "want one of them"},
		{"policy: {bundle_file: p.tar.gz}", "policy.bundle_file"},
		{"policy: {" + services + "bundles: {main: {service: d, resource: x}}}", "policy.bundles.main.service: \"d\" is none of policy.services (c)"},
		{"policy: {" + services + "bundles: {main: {service: c}}}", "policy.bundles.main.resource: is missing"},
		{"policy: {" + services + "bundles: {main: {service: c, resource: x, poll_min: 10ms}}}", "policy.bundles.main.poll_min"},
		{"policy: {" + services + "bundles: {main: {service: c, resource: x, poll_min: 1m, poll_max: 2s}}}", "policy.bundles.main.poll_max"},
		{"policy: {services: {c: {}}}", "policy.services.c.url"},
		{"policy: {opa: {status: {service: d}}}", "policy.opa.status.service"},
		{"policy: {verification: {keys: {prod: {}}}}", "policy.verification.keys.prod.file"},
		{"policy: {verification: {key_id: x}}", "policy.verification.key_id"},
		{"policy: {bundels: {}}", "bundels"},
	} {
		parsed, err := Parse([]byte("data_dir: /var/lib/x\n" + c.yaml))
		if err == nil {
			parsed = parsed.WithDefaults(0)
			err = parsed.Validate()
		}
		if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want an error with %q", c.yaml, err, c.want)
		}
	}
	parsed, err := Parse([]byte("policy: {" + services + "bundles: {main: {service: c, resource: r, poll_min: 2s, long_poll: 30s, persist: false}}}"))
	if err != nil {
		t.Fatal(err)
	}
	b := parsed.WithDefaults(0).Policy.Bundles["main"].Bundle()
	polling, _ := b["polling"].(map[string]any)
	if b["persist"] != false || polling["min_delay_seconds"] != int64(2) || polling["max_delay_seconds"] != int64(30) || polling["long_polling_timeout_seconds"] != int64(30) {
		t.Errorf("the bundle in OPA's words: got %v", b)
	}
}
