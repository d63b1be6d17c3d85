//! `update_engine`: it writes the new version into the other of two slots, and then waits for a reboot.
//!
//! Flatcar and ChromeOS have their own names for the same program. ChromeOS, and Container-Optimized OS with it, tells its
//! status as a protobuf message since 2019. An `update_engine` that was restarted while an update waits knows the status from a
//! file, but says that the new version is 0.0.0.

use lockkeeper_channel::text::{NAME, fit};
use lockkeeper_channel::{UPDATE_ENGINE, Updater, UpdaterState};
use zbus::message::Body;
use zbus::{Connection, fdo};

use super::is_there;
use super::protobuf::Field;

/// The reason while the version is not known.
pub(super) const UNKNOWN_VERSION: &str = "update_engine installed a new version";
/// Flatcar's.
pub(super) const FLATCAR: Engine = Engine {
    service: "com.coreos.update1",
    path: "/com/coreos/update1",
    interface: "com.coreos.update1.Manager",
};
/// ChromeOS' and Container-Optimized OS'.
pub(super) const CHROMEOS: Engine = Engine {
    service: "org.chromium.UpdateEngine",
    path: "/org/chromium/UpdateEngine",
    interface: "org.chromium.UpdateEngineInterface",
};
/// The signal with the same body as the reply of `GetStatus`.
pub(super) const STATUS_UPDATE: &str = "StatusUpdate";
/// The signal with the same body as the reply of `GetStatusAdvanced`.
pub(super) const STATUS_UPDATE_ADVANCED: &str = "StatusUpdateAdvanced";

/// The status in which an update waits for a reboot.
const NEEDS_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";
/// The same as a number.
const NEEDS_REBOOT_NUMBER: u64 = 6;
/// The field of the protobuf message that has the status.
const OPERATION: u64 = 3;
/// The field that has the new version.
const NEW_VERSION: u64 = 4;
/// The version of an `update_engine` that does not know it.
const NO_VERSION: &str = "0.0.0";

/// The time of the last check, the progress, the status, the new version, its size.
type StatusTuple = (i64, f64, String, String, i64);

/// Where an `update_engine` is on the bus.
#[derive(Clone, Copy, Debug)]
pub(super) struct Engine {
    /// Its name.
    pub(super) service: &'static str,
    /// Its object.
    path: &'static str,
    /// The interface of that object.
    pub(super) interface: &'static str,
}

impl Engine {
    async fn call(self, connection: &Connection, method: &str) -> zbus::Result<zbus::Message> {
        connection
            .call_method(Some(self.service), self.path, Some(self.interface), method, &())
            .await
    }
}

/// Asks the `update_engine` of this host.
pub(super) async fn ask(connection: &Connection) -> zbus::Result<Updater> {
    if is_there(connection, FLATCAR.service).await? {
        return status(&FLATCAR.call(connection, "GetStatus").await?.body());
    }
    if is_there(connection, CHROMEOS.service).await? {
        return match CHROMEOS.call(connection, "GetStatusAdvanced").await {
            Ok(reply) => advanced_status(&reply.body()),
            Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::UnknownMethod(_)) => {
                status(&CHROMEOS.call(connection, "GetStatus").await?.body())
            }
            Err(error) => Err(error),
        };
    }
    Ok(Updater::new(UPDATE_ENGINE, UpdaterState::Absent, ""))
}

/// What the body of `GetStatus` and `StatusUpdate` says.
pub(super) fn status(body: &Body) -> zbus::Result<Updater> {
    let (_checked, _progress, operation, version, _size) = body.deserialize::<StatusTuple>()?;
    Ok(updater(operation == NEEDS_REBOOT, &version))
}

/// What the body of `GetStatusAdvanced` and `StatusUpdateAdvanced` says.
pub(super) fn advanced_status(body: &Body) -> zbus::Result<Updater> {
    let bytes = body.deserialize::<Vec<u8>>()?;
    decoded(&bytes).ok_or_else(|| zbus::Error::Failure("the status is no protobuf message".into()))
}

fn decoded(bytes: &[u8]) -> Option<Updater> {
    let (mut needs_reboot, mut version) = (false, String::new());
    for field in Field::parse_all(bytes)? {
        match field {
            Field::Number(OPERATION, number) => needs_reboot = number == NEEDS_REBOOT_NUMBER,
            Field::Bytes(NEW_VERSION, text) => version = String::from_utf8_lossy(text).into_owned(),
            Field::Number(..) | Field::Bytes(..) | Field::Other => {}
        }
    }
    Some(updater(needs_reboot, &version))
}

fn updater(needs_reboot: bool, version: &str) -> Updater {
    if !needs_reboot {
        return Updater::new(UPDATE_ENGINE, UpdaterState::NotRequired, "");
    }
    let version = fit(version, 64);
    let reason = match version.as_str() {
        "" | NO_VERSION => UNKNOWN_VERSION.to_owned(),
        version => fit(&format!("update_engine installed version {version}"), NAME),
    };
    Updater::new(UPDATE_ENGINE, UpdaterState::Required, reason)
}

#[cfg(test)]
mod tests {
    use lockkeeper_fuzz::fuzz;
    use zbus::Message;

    use super::*;

    /// A signal with this body.
    fn signal<T: serde::Serialize + zbus::DynamicType>(body: &T) -> Message {
        let signal = Message::signal(FLATCAR.path, FLATCAR.interface, STATUS_UPDATE);
        signal.build(body).unwrap()
    }

    fn says(operation: &str, version: &str) -> (UpdaterState, String) {
        let message = signal(&(1_800_000_000_i64, 0.0_f64, operation, version, 0_i64));
        let updater = status(&message.body()).unwrap();
        (updater.state, updater.message)
    }

    #[test]
    fn only_an_update_that_waits_for_a_reboot_requires_one() {
        let expected = "update_engine installed version 4152.2.0".to_owned();
        assert_eq!(says(NEEDS_REBOOT, "4152.2.0"), (UpdaterState::Required, expected));
        for operation in ["UPDATE_STATUS_IDLE", "UPDATE_STATUS_DOWNLOADING", "unknown status", ""] {
            assert_eq!(
                says(operation, "4152.2.0"),
                (UpdaterState::NotRequired, String::new()),
                "{operation}"
            );
        }
    }

    #[test]
    fn the_version_of_a_restarted_update_engine_is_none() {
        for version in ["0.0.0", ""] {
            let expected = (UpdaterState::Required, UNKNOWN_VERSION.to_owned());
            assert_eq!(says(NEEDS_REBOOT, version), expected);
        }
    }

    #[test]
    fn a_body_of_another_type_is_an_error() {
        let wrong = [
            signal(&"UPDATE_STATUS_UPDATED_NEED_REBOOT"),
            signal(&()),
            signal(&(1_i64, 0.0_f64, NEEDS_REBOOT, "1.0", "2")),
        ];
        for message in &wrong {
            assert!(status(&message.body()).is_err(), "{message:?}");
            assert!(advanced_status(&message.body()).is_err(), "{message:?}");
        }
    }

    #[test]
    fn the_status_of_chromeos_is_read_from_its_protobuf_message() {
        // last_checked_time 1, progress 1.0, current_operation 6, new_version "16093.68.0", new_size 2, is_install false.
        let message = b"\x08\x01\x11\0\0\0\0\0\0\xf0\x3f\x18\x06\x22\x0a16093.68.0\x28\x02\x38\0";
        let expected = updater(true, "16093.68.0");
        assert_eq!(advanced_status(&signal(&message.to_vec()).body()).unwrap(), expected);
        let idle = Updater::new(UPDATE_ENGINE, UpdaterState::NotRequired, "");
        assert_eq!(decoded(b""), Some(idle), "in protobuf, what is 0 is left out");
        assert_eq!(decoded(&message[..message.len() - 1]), None);
    }

    mod fuzz {
        use super::*;

        #[test]
        fn whatever_update_engine_says_the_reason_is_short_and_printable() {
            fuzz("update-engine", |input| {
                let text = String::from_utf8_lossy(input);
                let (state, reason) = says(NEEDS_REBOOT, &text.replace('\0', ""));
                assert_eq!(state, UpdaterState::Required);
                let decoded = decoded(input).map(|updater| updater.message).unwrap_or_default();
                for text in [reason, decoded] {
                    assert!(text.chars().count() <= 256, "{text:?}");
                    assert!(text.chars().all(lockkeeper_text::is_printable), "{text:?}");
                }
            });
        }
    }
}
