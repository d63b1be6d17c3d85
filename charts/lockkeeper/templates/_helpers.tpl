{{/* The label app.kubernetes.io/name. */}}
{{- define "lockkeeper.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of every object's name. It does not depend on the release: a cluster has one Lockkeeper, and runbooks name its objects. */}}
{{- define "lockkeeper.fullname" -}}
{{- default "lockkeeper" .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that never change. Call with (list $ "component"). */}}
{{- define "lockkeeper.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "lockkeeper.name" $root }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object. Call with (list $ "component"); the component is empty for shared objects. */}}
{{- define "lockkeeper.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "lockkeeper.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/part-of: lockkeeper
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod. A drain never evicts pods with the label part-of. */}}
{{- define "lockkeeper.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "lockkeeper.selectorLabels" . }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/part-of: lockkeeper
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image's reference. Call with (list $ .Values.operator.image). */}}
{{- define "lockkeeper.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- with $root.Values.global.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/*
An image's pull policy. Call with (list $ .Values.operator.image). A reference without a registry is resolved by the
container runtime, as a rule at a public registry that we do not own, so such an image is never pulled.
*/}}
{{- define "lockkeeper.pullPolicy" -}}
{{- $policy := (index . 1).pullPolicy -}}
{{- $reference := include "lockkeeper.image" . -}}
{{- $host := splitList "/" $reference | first -}}
{{- $registry := and (contains "/" $reference) (or (contains "." $host) (contains ":" $host) (eq $host "localhost")) -}}
{{- if and $policy (ne $policy "Never") (not $registry) -}}
{{- fail (printf "pullPolicy %s for image %s, which names no registry: the nodes would pull it from whatever registry their container runtime takes for granted. Set global.imageRegistry, or a repository with a registry; or leave pullPolicy empty if the image is loaded on the nodes" $policy $reference) -}}
{{- end -}}
{{- default (ternary "IfNotPresent" "Never" $registry) $policy -}}
{{- end -}}

{{- define "lockkeeper.operatorAccount" -}}
{{- default (printf "%s-operator" (include "lockkeeper.fullname" .)) .Values.serviceAccounts.operator.name -}}
{{- end -}}

{{- define "lockkeeper.agentAccount" -}}
{{- default (printf "%s-agent" (include "lockkeeper.fullname" .)) .Values.serviceAccounts.agent.name -}}
{{- end -}}

{{/*
The priority classes of the pods, as a JSON array, if a ResourceQuota has to name them. kube-system needs none: such clusters
admit critical pods there, and a quota would count the pods of others.
*/}}
{{- define "lockkeeper.limitedClasses" -}}
{{- $classes := list .Values.agent.priorityClassName .Values.operator.priorityClassName | compact | uniq | sortAlpha -}}
{{- ternary $classes (list) (and .Values.resourceQuota.enabled (ne .Release.Namespace "kube-system")) | toJson -}}
{{- end -}}

{{/* "yes" if a kind of the Prometheus Operator may be rendered. Call with (list $ "PodMonitor"). */}}
{{- define "lockkeeper.monitoring" -}}
{{- $root := index . 0 -}}
{{- $known := $root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 1)) -}}
{{- if or $known (eq $root.Values.metrics.renderMode "alwaysRender") -}}yes{{- end -}}
{{- end -}}

{{/* Endpoint fields shared by the PodMonitor and the ServiceMonitor. */}}
{{- define "lockkeeper.endpoint" -}}
port: metrics
path: /metrics
# Keeps the label `node` of the metrics, which names the node that a series describes.
honorLabels: true
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A pod that runs kubectl-lockkeeper to completion. Call with (dict "root" $ "account" NAME "restartPolicy" POLICY "args" LIST). */}}
{{- define "lockkeeper.pluginPod" -}}
{{- $operator := .root.Values.operator -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: true
enableServiceLinks: false
restartPolicy: {{ .restartPolicy }}
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $operator.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $operator.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $operator.podSecurityContext | nindent 2 }}
containers:
  - name: kubectl-lockkeeper
    image: {{ include "lockkeeper.image" (list .root $operator.image) }}
    imagePullPolicy: {{ include "lockkeeper.pullPolicy" (list .root $operator.image) }}
    command: [/kubectl-lockkeeper]
    args:
      {{- range .args }}
      - {{ . | quote }}
      {{- end }}
    resources:
      {{- toYaml $operator.resources | nindent 6 }}
    securityContext:
      {{- toYaml $operator.securityContext | nindent 6 }}
{{- end -}}

{{/* The Secret with the receivers of notifications; empty if there are none. */}}
{{- define "lockkeeper.notificationsSecret" -}}
{{- with .Values.notifications -}}
{{- if .existingSecret -}}
{{- .existingSecret -}}
{{- else if .receivers -}}
{{- include "lockkeeper.fullname" $ }}-notifications
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secret that names Alertmanager; empty if there is none. */}}
{{- define "lockkeeper.silencesSecret" -}}
{{- with .Values.silences -}}
{{- if .existingSecret -}}
{{- .existingSecret -}}
{{- else if .alertmanager -}}
{{- include "lockkeeper.fullname" $ }}-silences
{{- end -}}
{{- end -}}
{{- end -}}
