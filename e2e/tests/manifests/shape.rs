//! Properties that hold for every rendering.

use std::collections::BTreeSet;

use lockkeeper_e2e::helm::{Version, chart, documents};
use serde_json::{Value, json};

use super::{helm, read, rendered};

/// All objects of all renderings, each with the name of its set of values.
fn objects() -> impl Iterator<Item = (&'static str, Value)> {
    rendered().iter().flat_map(|(case, text)| {
        let objects = documents(text).unwrap().into_iter();
        objects.map(|object| (case.name.as_str(), object))
    })
}

#[test]
fn the_actuator_has_no_token_and_the_agent_has_no_privileges() {
    let manifest = documents(&read("deploy/lockkeeper.yaml")).unwrap();
    let agent = manifest.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let pod = &agent["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(forbidden).is_none(), "{forbidden}");
    }
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert!(context.get("privileged").is_none());
        let mounts: Vec<&str> = container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| mount["name"].as_str().unwrap())
            .collect();
        match container["name"].as_str().unwrap() {
            "agent" => {
                assert_eq!(
                    mounts,
                    [
                        "channel",
                        "host-run",
                        "host-modules",
                        "host-rpm",
                        "host-os-release",
                        "credential"
                    ]
                );
                assert_eq!(context["runAsUser"], 65532);
            }
            "actuator" => assert_eq!(mounts, ["channel", "bus"]),
            other => panic!("a third container: {other}"),
        }
    }
}

#[test]
fn the_containers_may_use_the_bus_and_the_sentinel_files_of_confined_hosts() {
    let manifest = documents(&read("deploy/lockkeeper.yaml")).unwrap();
    let agent = manifest.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let containers = agent["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let confinement = containers.iter().map(|container| {
        let context = &container["securityContext"];
        let profile = context["appArmorProfile"]["type"].as_str();
        (
            container["name"].as_str().unwrap(),
            profile,
            context["seLinuxOptions"]["type"].as_str(),
        )
    });
    assert_eq!(
        confinement.collect::<Vec<_>>(),
        [
            ("agent", None, Some("spc_t")),
            ("actuator", Some("Unconfined"), Some("spc_t"))
        ]
    );
}

#[test]
fn without_the_actuators_container_nothing_runs_as_root() {
    let (_, text) = rendered()
        .iter()
        .find(|(case, _)| case.name == "host-actuator")
        .unwrap();
    let objects = documents(text).unwrap();
    let agent = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let pod = &agent["spec"]["template"]["spec"];
    let containers = pod["containers"].as_array().unwrap();
    let users = containers.iter().map(|container| {
        let context = &container["securityContext"];
        (container["name"].as_str().unwrap(), context["runAsUser"].as_i64())
    });
    assert_eq!(users.collect::<Vec<_>>(), [("agent", Some(65532))]);
    let volumes = pod["volumes"].as_array().unwrap();
    assert!(volumes.iter().all(|volume| volume["name"] != "bus"), "{volumes:?}");
    let channel = volumes.iter().find(|volume| volume["name"] == "channel").unwrap();
    assert_eq!(
        channel["hostPath"],
        json!({"path": "/var/lib/reboots", "type": "Directory"})
    );
    assert!(
        containers[0]["volumeMounts"][0].get("readOnly").is_none(),
        "the agent writes there"
    );
}

#[test]
fn every_object_carries_the_recommended_labels() {
    // Extra objects of users need no labels.
    let ours = |object: &Value| object["metadata"]["annotations"]["e2e.lockkeeper.dev/extra"] != "true";
    for (case, object) in objects().filter(|(_, object)| ours(object)) {
        for label in ["name", "instance", "version", "part-of", "managed-by"] {
            let label = format!("app.kubernetes.io/{label}");
            assert!(
                object["metadata"]["labels"][&label].is_string(),
                "{case}: {} {} lacks {label}",
                object["kind"],
                object["metadata"]["name"]
            );
        }
    }
}

#[test]
fn a_quota_names_the_priority_classes_of_the_pods_outside_kube_system() {
    for (case, text) in rendered() {
        let objects = documents(text).unwrap();
        let classes = objects
            .iter()
            .filter_map(|object| object["spec"]["template"]["spec"]["priorityClassName"].as_str());
        let classes: BTreeSet<&str> = classes.collect();
        let quotas = objects.iter().filter(|object| object["kind"] == "ResourceQuota");
        let named = quotas.flat_map(|quota| {
            let scope = &quota["spec"]["scopeSelector"]["matchExpressions"][0];
            scope["values"].as_array().unwrap().iter().filter_map(Value::as_str)
        });
        assert_eq!(named.collect::<BTreeSet<&str>>(), classes, "{}", case.name);
    }
    let (helm, _home) = helm(Version::Four);
    let text = helm
        .run(&["template", "lockkeeper", &chart(), "--namespace", "kube-system"])
        .unwrap();
    assert!(text.contains("kind: DaemonSet") && !text.contains("kind: ResourceQuota"));
}

#[test]
fn selectors_match_their_pods_and_do_not_depend_on_the_version() {
    for (case, object) in objects() {
        let Some(selector) = object["spec"]["selector"]["matchLabels"].as_object() else {
            continue;
        };
        let keys: Vec<&str> = selector.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["app.kubernetes.io/component", "app.kubernetes.io/name"],
            "{case}"
        );
        let Some(labels) = object["spec"]["template"]["metadata"]["labels"].as_object() else {
            continue;
        };
        for (key, value) in selector {
            assert_eq!(labels.get(key), Some(value), "{case}: {}", object["metadata"]["name"]);
        }
    }
}

#[test]
fn admission_policies_apply_to_the_service_accounts_of_agents_and_operator() {
    for (case, text) in rendered() {
        let objects = documents(text).unwrap();
        let of = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
        let policies: Vec<&Value> = of("ValidatingAdmissionPolicy").collect();
        assert_eq!(
            policies.is_empty(),
            case.name == "minimal",
            "{}: enabled by default",
            case.name
        );
        for policy in policies {
            let component = policy["metadata"]["labels"]["app.kubernetes.io/component"]
                .as_str()
                .unwrap();
            let kind = match component {
                "node-agent" => "DaemonSet",
                "operator" => "Deployment",
                other => panic!("{}: a policy of {other}", case.name),
            };
            let pod = &of(kind).next().unwrap()["spec"]["template"]["spec"];
            let account = pod["serviceAccountName"].as_str().unwrap();
            let condition = policy["spec"]["matchConditions"][0]["expression"].as_str().unwrap();
            assert!(
                condition.ends_with(&format!(":{account}'")),
                "{}: {condition} and {account}",
                case.name
            );
        }
    }
}

#[test]
fn an_image_without_a_registry_is_never_pulled() {
    let manifest = read("deploy/lockkeeper.yaml");
    let texts = rendered()
        .iter()
        .map(|(_, text)| text.as_str())
        .chain([manifest.as_str()]);
    let mut images = 0;
    for object in texts.flat_map(|text| documents(text).unwrap()) {
        let pod = match object["kind"].as_str() {
            Some("Pod") => &object["spec"],
            _ => &object["spec"]["template"]["spec"],
        };
        for container in pod["containers"].as_array().into_iter().flatten() {
            let image = container["image"].as_str().unwrap();
            let host = image.split('/').next().unwrap();
            let registry = image.contains('/') && (host.contains(['.', ':']) || host == "localhost");
            assert!(
                registry || container["imagePullPolicy"] == "Never",
                "{image}: {container}"
            );
            images += 1;
        }
    }
    assert!(images > 10, "{images}");
}
