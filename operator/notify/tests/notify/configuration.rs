//! What a file may say, and which errors name what it must not say.

use std::path::Path;

use crate::world::{parsed, read};

fn errors(text: &str) -> String {
    parsed(text).errors.join("\n")
}

/// The error in a receiver with these fields beside a name.
fn error(fields: &str) -> String {
    errors(&format!("receivers: [{{name: chat, {fields}}}]"))
}

const OK: &str = "format: Slack, url: 'https://hooks.example.com/hunter2'";

#[test]
fn a_url_may_be_in_the_file_or_in_a_file_beside_it() {
    for url in ["url: 'https://hooks.example.com/hunter2'", "urlFile: url"] {
        let config = parsed(&format!(
            "cluster: prod\nreceivers: [{{name: chat, format: Slack, {url}}}]"
        ));
        assert_eq!((config.errors.len(), config.receivers.len()), (0, 1), "{url}");
        assert_eq!(config.cluster, "prod");
    }
}

#[test]
fn a_receiver_with_an_error_is_left_out_and_the_others_count() {
    let config = parsed(&format!(
        "receivers: [{{name: a, {OK}}}, {{name: b, format: Fax}}, {{name: c, {OK}}}]"
    ));
    assert_eq!(config.receivers.len(), 2);
    assert_eq!(
        config.errors,
        ["receivers[1].format must be Slack, JSON, CloudEvents or CloudEventsBatch"]
    );
}

#[test]
fn each_error_names_the_field_and_what_is_expected() {
    for (fields, expected) in [
        ("url: 'http://h/'", "missing field `format`"),
        ("format: Slack", "url is missing; give url or urlFile"),
        (
            "format: Slack, url: 'http://h/', urlFile: url",
            "url and urlFile are both set; give one of them",
        ),
        (
            "format: Slack, urlFile: missing",
            "urlFile cannot be read: No such file or directory (os error 2)",
        ),
        ("format: Slack, url: ''", "url is empty"),
        (
            "format: Slack, url: 'ftp://h/'",
            "url must begin with http:// or https://",
        ),
        (
            &format!("{OK}, caBundle: x"),
            "caBundle contains no certificate; give at least one -----BEGIN CERTIFICATE----- block",
        ),
        (
            &format!("{OK}, minSecondsBetween: 0"),
            "minSecondsBetween must be from 1 to 3600",
        ),
        (
            &format!("{OK}, minSecondsBetween: soon"),
            "minSecondsBetween is not what is expected there: u32",
        ),
        (
            &format!("{OK}, events: [Fail]"),
            "events[0] is not the reason of an Event; docs/notifications.md lists them",
        ),
        (
            &format!("{OK}, events: Failed"),
            "events is not what is expected there: a sequence",
        ),
        (
            &format!("{OK}, template: '{{{{ text'"),
            "template syntax error in line 1: unexpected end of input, expected end of variable block",
        ),
        (
            "format: JSON, url: 'http://h/', template: '{text: {{ text }}}'",
            "template makes no valid JSON (line 1); write values as {{ value }} without quotes",
        ),
        (
            "format: CloudEvents, url: 'http://h/', template: x",
            "template is only for the formats Slack and JSON; CloudEvents have fixed fields",
        ),
    ] {
        assert_eq!(error(fields), format!("receivers[0].{expected}"), "{fields}");
    }
    let unknown = error(&format!("{OK}, urll: x"));
    assert!(
        unknown.starts_with("receivers[0].urll is not what is expected there: one of `name`, `format`"),
        "{unknown}"
    );
    assert_eq!(
        errors(&format!("receivers: [{{name: Chat!, {OK}}}]")),
        "receivers[0].name must have 1 to 63 characters: a-z, 0-9 and -"
    );
    assert_eq!(
        errors(&format!("receivers: [{{name: a, {OK}}}, {{name: a, {OK}}}]")),
        "receivers[1].name a is used twice; give each its own"
    );
    assert_eq!(
        errors("cluster: my cluster"),
        "cluster must have at most 63 characters: A-Z, a-z, 0-9, '.', '_' and '-'"
    );
    assert_eq!(errors(""), "the file is empty");
    assert_eq!(
        errors("receivers:\n  - ]"),
        "the file is not valid YAML near line 2, column 5"
    );
    let missing = read(Path::new("/nowhere/notifications.yaml")).errors;
    assert_eq!(
        missing,
        [
            "/nowhere/notifications.yaml cannot be read: No such file or directory (os error 2); check the mounted Secret"
        ]
    );
}

#[test]
fn no_error_and_no_debug_output_shows_a_secret() {
    let secret = "https://hooks.example.com/hunter2";
    for text in [
        secret.to_owned(),
        format!("receivers: {secret}"),
        format!("receivers: ['{secret}']"),
        format!("receivers: [{{name: chat, format: '{secret}', url: '{secret}'}}]"),
        format!("receivers: [{{name: chat, format: Slack, url: ['{secret}']}}]"),
        format!("receivers: [{{name: chat, format: Slack, url: 'x{secret} y'}}]"),
        format!("receivers: [{{name: chat, format: Slack, url: 'http://h/', events: '{secret}'}}]"),
        format!("receivers: [{{name: chat, format: Slack, url: 'http://h/', minSecondsBetween: '{secret}'}}]"),
        format!("receivers: [{{name: '{secret}', format: Slack, url: 'http://h/'}}]"),
        format!("receivers: ]{secret}"),
    ] {
        let config = parsed(&text);
        assert!(!config.errors.is_empty(), "{text}");
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }
    let valid = parsed(&format!("receivers: [{{name: chat, {OK}, bearerToken: hunter2}}]"));
    assert_eq!(valid.errors, [""; 0]);
    assert!(!format!("{valid:?}").contains("hunter2"), "{valid:?}");
}
