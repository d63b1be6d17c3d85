//! rpm-ostree: which deployment the next boot starts.
//!
//! The bus starts its daemon for the question, and the daemon ends by itself. A staged deployment is left out here: the agent
//! reads it from a file, which also tells whether it is locked.

use std::collections::HashMap;

use lockkeeper_channel::text::{NAME, fit};
use lockkeeper_channel::{RPM_OSTREE, Updater, UpdaterState};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedVariant, fdo};

use super::is_there;

/// Its name on the bus.
pub(super) const SERVICE: &str = "org.projectatomic.rpmostree1";
/// The root of its objects.
pub(super) const PATH: &str = "/org/projectatomic/rpmostree1";

/// A deployment as rpm-ostree describes it.
type Properties = HashMap<String, OwnedVariant>;

/// Asks rpm-ostree, if this host has it.
pub(super) async fn ask(connection: &Connection) -> zbus::Result<Updater> {
    let bus = fdo::DBusProxy::new(connection).await?;
    let can_start = bus
        .list_activatable_names()
        .await?
        .iter()
        .any(|name| name.as_str() == SERVICE);
    if !can_start && !is_there(connection, SERVICE).await? {
        return Ok(Updater::new(RPM_OSTREE, UpdaterState::Absent, ""));
    }
    let sysroot = sysroot::SysrootProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let deployments = sysroot.deployments().await?;
    Ok(read(&deployments))
}

/// What the deployments say, in the order in which the boot loader has them.
fn read(deployments: &[Properties]) -> Updater {
    let mut not_staged = deployments.iter().filter(|deployment| !is(deployment, "staged"));
    let is_booted = |deployment: &Properties| is(deployment, "booted");
    match not_staged.next() {
        _ if !deployments.iter().any(is_booted) => Updater::new(
            RPM_OSTREE,
            UpdaterState::Failing,
            "rpm-ostree knows no booted deployment; run rpm-ostree status on the host",
        ),
        Some(default) if !is_booted(default) => {
            let version = [text(default, "version"), text(default, "checksum")];
            let version = version.into_iter().flatten().next().unwrap_or("of an unknown version");
            let reason = format!("deployment {version} is the default, another one is booted");
            Updater::new(RPM_OSTREE, UpdaterState::Required, fit(&reason, NAME))
        }
        Some(_) | None => Updater::new(RPM_OSTREE, UpdaterState::NotRequired, ""),
    }
}

fn is(deployment: &Properties, key: &str) -> bool {
    let value = deployment.get(key);
    value.is_some_and(|value| bool::try_from(value).is_ok_and(|is| is))
}

fn text<'a>(deployment: &'a Properties, key: &str) -> Option<&'a str> {
    let text = <&str>::try_from(deployment.get(key)?).ok();
    text.filter(|text| !text.is_empty())
}

/// The one property that the actuator reads.
mod sysroot {
    use zbus::proxy;

    use super::Properties;

    #[proxy(
        interface = "org.projectatomic.rpmostree1.Sysroot",
        default_service = "org.projectatomic.rpmostree1",
        default_path = "/org/projectatomic/rpmostree1/Sysroot"
    )]
    pub(super) trait Sysroot {
        #[zbus(property)]
        fn deployments(&self) -> zbus::Result<Vec<Properties>>;
    }
}

#[cfg(test)]
mod tests {
    use lockkeeper_fuzz::fuzz;
    use zbus::Variant;

    use super::*;

    /// A deployment with these properties that are true, and a version.
    fn deployment(truths: &[&str], version: &str) -> Properties {
        let truths = truths.iter().map(|&name| (name.to_owned(), owned(Variant::from(true))));
        let version = ("version".to_owned(), owned(Variant::from(version)));
        truths.chain([version]).collect()
    }

    fn owned(value: Variant<'_>) -> OwnedVariant {
        value.try_into().unwrap()
    }

    fn check(deployments: &[Properties]) -> (UpdaterState, String) {
        let updater = read(deployments);
        (updater.state, updater.message)
    }

    #[test]
    fn a_default_deployment_that_is_not_booted_requires_a_reboot() {
        let (old, new) = (deployment(&["booted"], "41.1"), deployment(&[], "41.2"));
        let reason = "deployment 41.2 is the default, another one is booted".to_owned();
        assert_eq!(check(&[new, old]), (UpdaterState::Required, reason));
        let (old, new) = (deployment(&[], "41.1"), deployment(&["booted"], "41.2"));
        assert_eq!(check(&[new, old]), (UpdaterState::NotRequired, String::new()));
    }

    #[test]
    fn a_staged_deployment_is_left_to_its_file() {
        let (staged, booted) = (deployment(&["staged"], "41.2"), deployment(&["booted"], "41.1"));
        assert_eq!(check(&[staged, booted]), (UpdaterState::NotRequired, String::new()));
    }

    #[test]
    fn without_a_booted_deployment_nothing_is_known() {
        for deployments in [
            vec![],
            vec![deployment(&[], "41.1")],
            vec![deployment(&["staged"], "41.1")],
        ] {
            assert_eq!(check(&deployments).0, UpdaterState::Failing);
        }
    }

    #[test]
    fn properties_of_another_type_count_as_absent() {
        let mut wrong = deployment(&[], "41.2");
        wrong.insert("booted".to_owned(), owned(Variant::from("true")));
        wrong.insert("version".to_owned(), owned(Variant::from(41_u32)));
        let (state, reason) = check(&[wrong, deployment(&["booted"], "41.1")]);
        assert_eq!(state, UpdaterState::Required);
        assert!(reason.contains("unknown version"), "{reason}");
    }

    mod fuzz {
        use super::*;

        #[test]
        fn whatever_rpm_ostree_says_the_reason_is_short_and_printable() {
            fuzz("rpm-ostree", |input| {
                let described: Vec<HashMap<String, serde_json::Value>> =
                    serde_json::from_slice(input).unwrap_or_default();
                let value = |value: serde_json::Value| match value {
                    serde_json::Value::Bool(truth) => owned(Variant::from(truth)),
                    serde_json::Value::String(text) => owned(Variant::from(text.replace('\0', ""))),
                    other => owned(Variant::from(other.to_string())),
                };
                let deployments: Vec<Properties> = described
                    .into_iter()
                    .map(|one| one.into_iter().map(|(key, it)| (key, value(it))).collect())
                    .collect();
                let updater = read(&deployments);
                let text = &updater.message;
                assert!(
                    text.chars().count() <= 256 && text.chars().all(lockkeeper_text::is_printable),
                    "{text:?}"
                );
                assert_eq!(text.is_empty(), updater.state == UpdaterState::NotRequired);
            });
        }
    }
}
