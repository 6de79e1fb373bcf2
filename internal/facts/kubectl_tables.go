package facts

import "strings"

func words(list string) map[string]bool { return set(strings.Fields(list)...) }

// kubeVerbs are kubectl's own verbs (kubectl 1.35, `kubectl --help`, and oc's common ones that are the same).
var kubeVerbs = words(`alpha annotate api-resources api-versions apply attach auth autoscale certificate cluster-info
	completion config cordon cp create debug delete describe diff drain edit events exec explain expose get help kustomize
	kuberc label logs options patch plugin port-forward proxy replace rollout run scale set taint top uncordon version wait`)

// kubeSubs are the verbs with a second word; "" means that any word is one.
var kubeSubs = map[string]string{
	"rollout": "", "config": "", "auth": "", "set": "", "top": "", "certificate": "", "create": "", "plugin": "", "alpha": "",
	"kuberc": "", "completion": "", "cluster-info": " dump ", "apply": " view-last-applied edit-last-applied set-last-applied ",
}

// kubeValues are the long options that take a value in the next word, of all verbs.
var kubeValues = words(`as as-group as-uid as-user-extra cache-dir certificate-authority client-certificate client-key
	cluster context kubeconfig kuberc log-backtrace-at log-dir log-file log-file-max-size log-flush-frequency namespace
	password profile-output request-timeout server stderrthreshold tls-server-name token user username
	v vmodule filename kustomize output selector field-selector label-columns sort-by template raw chunk-size subresource
	field-manager patch patch-file type replicas current-replicas resource-version timeout grace-period container
	since since-time tail limit-bytes pod-running-timeout max-log-requests image env labels port overrides override-type
	restart annotations command-name from-literal from-file from-env-file docker-server docker-username docker-password docker-email
	cert key class rule default-backend annotation clusterrole role serviceaccount group resource resource-name
	verb non-resource-url aggregation-rule hard scopes min-available max-unavailable value description
	preemption-policy schedule from tcp node-port external-name clusterip audience duration bound-object-kind
	bound-object-name bound-object-uid max min cpu-percent cpu memory name target-port protocol external-ip load-balancer-ip session-affinity
	cluster-ip generator for to-revision revision pod-selector max-unavailable skip-wait-for-delete-timeout
	copy-to profile target set-image custom share-processes-with prune-allowlist prune-whitelist applyset
	openapi-patch-version api-version api-group address accept-hosts accept-paths reject-methods reject-paths
	unix-socket www www-prefix api-prefix retries requests limits containers keys resources
	embed-certs-from exec-command exec-api-version exec-arg exec-env exec-interactive-mode exec-provide-cluster-info-from
	auth-provider auth-provider-arg proxy-url current output-directory namespaces kuberc-from section option
	concurrency path helm-command network network-name reorder load-restrictor mount as-current-user-from prepend-args
	append-args`)

// kubeSwitches are the long options without a value in the next word.
var kubeSwitches = words(`add-dir-header alsologtostderr disable-compression insecure-skip-tls-verify logtostderr
	match-server-version one-output skip-headers skip-log-headers warnings-as-errors help all-namespaces all
	allow-missing-template-keys show-managed-fields show-labels show-kind no-headers ignore-not-found watch watch-only
	output-watch-events server-print recursive dry-run validate overwrite force cascade now wait interactive
	server-side force-conflicts prune record save-config local list follow previous prefix timestamps
	all-containers ignore-errors insecure-skip-tls-verify-backend stdin tty quiet rm attach expose
	leave-stdin-open privileged share-processes same-node keep-labels keep-annotations keep-liveness
	keep-readiness keep-startup keep-init-containers arguments-only replace disable-filter
	ignore-daemonsets delete-emptydir-data delete-local-data disable-eviction client short raw-bytes flatten minify merge
	embed-certs unset use-protocol-buffers sum show-capacity show-events windows-line-endings no-preserve resolve edit
	append-hash tls suspend timeout-none enable-helm enable-alpha-plugins as-current-user containers-all use-openapi-print-columns
	cached namespaced detach-keys all-pods generate command name-only set-raw-bytes exec-provide-cluster-info dump no-prompt prune-all`)

// kubeLetters are the short options; kubeVerbLetters those that mean something else for a verb.
var (
	kubeLetters = map[string]string{
		"n": "namespace", "A": "all-namespaces", "f": "filename", "k": "kustomize", "o": "output", "l": "selector",
		"L": "label-columns", "w": "watch", "R": "recursive", "c": "container", "i": "stdin", "t": "tty", "q": "quiet",
		"s": "server", "v": "v", "h": "help",
	}
	kubeVerbLetters = map[string]map[string]string{
		"logs":   {"f": "follow", "p": "previous"},
		"patch":  {"p": "patch"},
		"run":    {"l": "labels"},
		"proxy":  {"p": "port", "P": "api-prefix", "u": "unix-socket", "w": "www"},
		"set":    {"e": "env", "c": "containers"},
		"expose": {"l": "labels"},
	}
)

// kubeTypes are the short names and singulars of the built-in types.
var kubeTypes = kubeTypeNames(`bindings
	componentstatuses:cs,componentstatus configmaps:cm endpoints:ep events:ev limitranges:limits namespaces:ns nodes:no
	persistentvolumeclaims:pvc persistentvolumes:pv pods:po podtemplates replicationcontrollers:rc resourcequotas:quota secrets
	serviceaccounts:sa services:svc mutatingwebhookconfigurations validatingwebhookconfigurations
	customresourcedefinitions:crd,crds apiservices controllerrevisions daemonsets:ds deployments:deploy replicasets:rs
	statefulsets:sts tokenreviews localsubjectaccessreviews selfsubjectaccessreviews subjectaccessreviews
	horizontalpodautoscalers:hpa cronjobs:cj jobs certificatesigningrequests:csr leases endpointslices flowschemas
	prioritylevelconfigurations ingressclasses:ingressclass ingresses:ing,ingress networkpolicies:netpol,networkpolicy runtimeclasses:runtimeclass
	poddisruptionbudgets:pdb clusterrolebindings clusterroles rolebindings roles priorityclasses:pc,priorityclass
	csidrivers csinodes csistoragecapacities:csistoragecapacity storageclasses:sc,storageclass volumeattachments
	validatingadmissionpolicies:validatingadmissionpolicy validatingadmissionpolicybindings`)

func kubeTypeNames(list string) map[string]string {
	names := map[string]string{}
	for item := range strings.FieldsSeq(list) {
		plural, others, _ := strings.Cut(item, ":")
		names[strings.TrimSuffix(plural, "s")] = plural
		for other := range strings.SplitSeq(others, ",") {
			names[other] = plural
		}
		delete(names, "")
	}
	return names
}
