//! Invalid values are refused, and the message names them.

use lockkeeper_e2e::helm::{Version, chart};

use super::helm;

/// The values that are set, and the words that the error message must contain.
const CASES: &[(&str, &[&str])] = &[
    // Unknown keys, at every depth.
    ("replicas=2", &["replicas"]),
    ("operator.replcas=2", &["operator", "replcas"]),
    ("agent.actuator.bus=/x", &["agent", "actuator", "bus"]),
    ("metrics.podMonitor.intervals=30s", &["podMonitor", "intervals"]),
    // Wrong types.
    ("operator.replicas=two", &["operator", "replicas", "integer"]),
    ("crds.enabled=maybe", &["crds", "enabled", "boolean"]),
    ("operator.tolerations.key=x", &["operator", "tolerations", "array"]),
    ("commonLabels.team=7", &["commonLabels", "team", "string"]),
    // Values out of range.
    ("operator.replicas=-1", &["operator", "replicas", "0"]),
    ("metrics.port=70000", &["metrics", "port", "65,535"]),
    ("metrics.renderMode=never", &["metrics", "renderMode"]),
    ("operator.image.digest=latest", &["operator", "image", "digest"]),
    ("operator.image.pullPolicy=Sometimes", &["image", "pullPolicy"]),
    ("operator.podDisruptionBudget.maxUnavailable=some", &["maxUnavailable"]),
    ("agent.host.run=run", &["agent", "host", "run"]),
    ("agent.actuator.busSocket=/bus", &["agent", "actuator", "busSocket"]),
    (
        "agent.actuator.minUptimeSeconds=10m",
        &["agent", "actuator", "minUptimeSeconds", "integer"],
    ),
    (
        "agent.actuator.enabled=perhaps",
        &["agent", "actuator", "enabled", "boolean"],
    ),
    (
        "agent.actuator.channelDirectory=channel",
        &["agent", "actuator", "channelDirectory"],
    ),
    (
        "operator.acceptUnconfinedAgents=yes",
        &["operator", "acceptUnconfinedAgents", "boolean"],
    ),
    ("networkPolicy.apiServer.cidrs[0]=10.0.0.1", &["apiServer", "cidrs"]),
    ("resourceQuota.pods=0", &["resourceQuota", "pods"]),
    ("fullnameOverride=Lock_Keeper", &["fullnameOverride"]),
    ("notifications.receivers[0].name=chat", &["receivers", "format"]),
    (
        "notifications.receivers[0].name=chat,notifications.receivers[0].format=Fax",
        &["receivers", "format", "Slack"],
    ),
    ("notifications.cluster=my cluster", &["notifications", "cluster"]),
    (
        "silences.alertmanager.url=alertmanager",
        &["silences", "alertmanager", "url"],
    ),
    ("silences.alertmanager.lingerSeconds=9000", &["lingerSeconds"]),
    // Checked by the templates.
    (
        "silences.existingSecret=mine,silences.alertmanager.url=http://a",
        &["silences.existingSecret", "alertmanager.yaml"],
    ),
    (
        "notifications.existingSecret=mine,notifications.cluster=prod",
        &["notifications.existingSecret", "notifications.yaml"],
    ),
    (
        "operator.image.pullPolicy=Always",
        &["lockkeeper/operator", "names no registry", "global.imageRegistry"],
    ),
    (
        "agent.image.pullPolicy=IfNotPresent",
        &["lockkeeper/node-agent", "names no registry"],
    ),
    (
        "prometheusRule.rules.Foo.for=1m",
        &["prometheusRule.rules.Foo", "LockkeeperNodeFailed"],
    ),
    (
        "prometheusRule.rules.LockkeeperPlanRefused.params.rnge=1h",
        &["LockkeeperPlanRefused.params.rnge", "range"],
    ),
    (
        "metrics.podMonitor.enabled=true,metrics.serviceMonitor.enabled=true",
        &["metrics.podMonitor.enabled", "metrics.serviceMonitor.enabled", "twice"],
    ),
    (
        "metrics.podMonitor.enabled=true,metrics.renderMode=failIfMissing",
        &["PodMonitor", "renderMode"],
    ),
];

#[test]
fn an_invalid_value_is_refused_and_the_message_names_it() {
    for version in Version::ALL {
        let (helm, _home) = helm(version);
        for (set, words) in CASES {
            let message = helm
                .refused(&["template", "lockkeeper", &chart(), "--set", set])
                .unwrap();
            for word in *words {
                assert!(
                    message.contains(word),
                    "{version:?}: {set} should name {word}: {message}"
                );
            }
        }
    }
}

#[test]
fn an_unsupported_kubernetes_version_is_refused() {
    for version in Version::ALL {
        let (helm, _home) = helm(version);
        let message = helm
            .refused(&["template", "lockkeeper", &chart(), "--kube-version", "1.32.9"])
            .unwrap();
        assert!(message.contains(">=1.33") && message.contains("1.32.9"), "{message}");
    }
}
