{{/*
Checks that a schema cannot express. Every message names the value or the object, and the remedy.
Checks against the cluster run only if there is one: `helm template` skips them.
*/}}
{{- define "lockkeeper.validate" -}}
{{- include "lockkeeper.validateMonitoring" . -}}
{{- include "lockkeeper.validateAlerts" . -}}
{{- include "lockkeeper.validateNotifications" . -}}
{{- include "lockkeeper.validateSilences" . -}}
{{- $roles := (lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "").items | default list -}}
{{- if $roles -}}
{{- include "lockkeeper.validateOnlyRelease" (list . $roles) -}}
{{- include "lockkeeper.validateNamespace" . -}}
{{- include "lockkeeper.validateDefinitions" . -}}
{{- end -}}
{{- end -}}

{{- define "lockkeeper.validateMonitoring" -}}
{{- $metrics := .Values.metrics -}}
{{- if and $metrics.podMonitor.enabled $metrics.serviceMonitor.enabled -}}
{{- fail "metrics.podMonitor.enabled and metrics.serviceMonitor.enabled: every series would be scraped twice; enable only one of them" -}}
{{- end -}}
{{- if eq $metrics.renderMode "failIfMissing" -}}
{{- $asked := dict "PodMonitor" $metrics.podMonitor.enabled "ServiceMonitor" $metrics.serviceMonitor.enabled "PrometheusRule" .Values.prometheusRule.enabled -}}
{{- range $kind, $enabled := $asked -}}
{{- if and $enabled (not (include "lockkeeper.monitoring" (list $ $kind))) -}}
{{- fail (printf "the cluster does not serve monitoring.coreos.com/v1 %s: install the Prometheus Operator CRDs first, or set metrics.renderMode to skipIfMissing" $kind) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lockkeeper.validateNotifications" -}}
{{- $notifications := .Values.notifications -}}
{{- if and $notifications.existingSecret (or $notifications.receivers $notifications.cluster) -}}
{{- fail "notifications.existingSecret: the operator reads one Secret; write cluster and receivers into its key notifications.yaml, or clear existingSecret" -}}
{{- end -}}
{{- end -}}

{{- define "lockkeeper.validateSilences" -}}
{{- if and .Values.silences.existingSecret .Values.silences.alertmanager -}}
{{- fail "silences.existingSecret: the operator reads one Secret; write alertmanager into its key alertmanager.yaml, or clear existingSecret" -}}
{{- end -}}
{{- end -}}

{{- define "lockkeeper.validateAlerts" -}}
{{- $alerts := (.Files.Get "files/alerts.yaml" | fromYaml).alerts -}}
{{- range $name, $change := .Values.prometheusRule.rules -}}
{{- if not (hasKey $alerts $name) -}}
{{- fail (printf "prometheusRule.rules.%s: no alert has this name; the alerts are %s" $name (keys $alerts | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $params := (index $alerts $name).params | default dict -}}
{{- range $param, $value := $change.params -}}
{{- if not (hasKey $params $param) -}}
{{- fail (printf "prometheusRule.rules.%s.params.%s: the alert has no such parameter; it has %s" $name $param (keys $params | sortAlpha | join ", " | default "none")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Finds another installation by its labels, because release name and fullname can both differ. */}}
{{- define "lockkeeper.validateOnlyRelease" -}}
{{- $root := index . 0 -}}
{{- range index . 1 -}}
{{- $labels := .metadata.labels | default dict -}}
{{- $annotations := .metadata.annotations | default dict -}}
{{- $release := index $annotations "meta.helm.sh/release-name" | default "" -}}
{{- $namespace := index $annotations "meta.helm.sh/release-namespace" | default "" -}}
{{- $ours := and (eq (index $labels "app.kubernetes.io/part-of" | default "") "lockkeeper") (eq (index $labels "app.kubernetes.io/component" | default "") "operator") -}}
{{- if and $ours $release (or (ne $release $root.Release.Name) (ne $namespace $root.Release.Namespace)) -}}
{{- fail (printf "Lockkeeper is already installed in this cluster, as release %s in namespace %s, and a cluster can have only one RebootLock. Upgrade that release: helm upgrade %s --namespace %s; or remove it first: helm uninstall %s --namespace %s" $release $namespace $release $namespace $release $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "lockkeeper.validateNamespace" -}}
{{- $namespace := lookup "v1" "Namespace" "" .Release.Namespace -}}
{{- $level := index (dig "metadata" "labels" dict $namespace) "pod-security.kubernetes.io/enforce" | default "" -}}
{{- if has $level (list "baseline" "restricted") -}}
{{- fail (printf "namespace %s enforces the Pod Security level %s, but the agents mount host paths: kubectl label namespace %s pod-security.kubernetes.io/enforce=privileged --overwrite; or choose another namespace" .Release.Namespace $level .Release.Namespace) -}}
{{- end -}}
{{- end -}}

{{/* Externally managed CustomResourceDefinitions must have every field that this chart's have. Extra objects need installed CRDs. */}}
{{- define "lockkeeper.validateDefinitions" -}}
{{- $root := . -}}
{{- range $plural := list "nodereboots" "rebootlocks" "rebootpolicies" -}}
{{- $name := printf "%s.lockkeeper.dev" $plural -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name -}}
{{- if not $root.Values.crds.enabled -}}
{{- if not $found -}}
{{- fail (printf "crds.enabled is false and the cluster has no CustomResourceDefinition %s: install the CRDs of version %s first (crds/generated), or set crds.enabled to true" $name $root.Chart.AppVersion) -}}
{{- end -}}
{{- $wanted := $root.Files.Get (printf "files/crds/%s.yaml" $plural) | fromYaml -}}
{{- $has := splitList "\n" (include "lockkeeper.fields" (list "" (first $found.spec.versions).schema.openAPIV3Schema)) -}}
{{- range $field := splitList "\n" (include "lockkeeper.fields" (list "" (first $wanted.spec.versions).schema.openAPIV3Schema)) -}}
{{- if not (has $field $has) -}}
{{- fail (printf "crds.enabled is false and CustomResourceDefinition %s lacks the field %s, so it is older than version %s: upgrade the CRDs first (crds/generated), or set crds.enabled to true" $name (trimPrefix "." $field) $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- else if and (not $found) (contains "lockkeeper.dev/v1alpha1" (toYaml $root.Values.extraObjects)) -}}
{{- fail "extraObjects contains an object of lockkeeper.dev/v1alpha1, but the cluster does not serve that kind yet: install the chart without the object, then add it with helm upgrade or apply it with kubectl" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The paths of all fields of a schema, one per line. Call with (list "" SCHEMA). */}}
{{- define "lockkeeper.fields" -}}
{{- $path := index . 0 -}}
{{- $schema := index . 1 -}}
{{- range $key, $below := $schema.properties }}
{{ $path }}.{{ $key }}
{{- include "lockkeeper.fields" (list (printf "%s.%s" $path $key) $below) -}}
{{- end -}}
{{- with $schema.items -}}
{{- include "lockkeeper.fields" (list (printf "%s[]" $path) .) -}}
{{- end -}}
{{- end -}}
