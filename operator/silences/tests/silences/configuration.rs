//! What the file may say.

use lockkeeper_silences::Config;

fn error(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alertmanager.yaml");
    std::fs::write(&path, text).unwrap();
    Config::read(&path).map_or_else(|error| error, |_| String::new())
}

#[test]
fn each_error_names_the_field_and_what_is_expected() {
    assert_eq!(error("url: http://alerts:9093"), "");
    assert_eq!(
        error("url: http://alerts:9093\nmatchers: [{name: instance, value: '{node}:.*', isRegex: true}]"),
        ""
    );
    for (text, expected) in [
        ("", "the file is empty"),
        ("lingerSeconds: 1", "url is missing; give url or urlFile"),
        ("url: alerts:9093", "url must begin with http:// or https://"),
        (
            "url: http://u:hunter2@alerts/",
            "url must not contain a user or a password; give them in the fields for credentials",
        ),
        (
            "url: http://alerts:9093\nmatchers: [{name: severity, value: warning}]",
            "matchers must contain {node} in one value, or the alerts of all nodes would be silenced",
        ),
        (
            "url: http://alerts:9093\nmatchers: []",
            "matchers must contain {node} in one value, or the alerts of all nodes would be silenced",
        ),
        (
            "url: http://alerts:9093\nmatchers: [{name: 'node=', value: '{node}'}]",
            "matchers[0].name must be the name of a label, such as instance",
        ),
        (
            "url: http://alerts:9093\ndurationSeconds: 10",
            "durationSeconds must be from 60 to 86400",
        ),
        (
            "url: http://alerts:9093\nlingerSeconds: 4000",
            "lingerSeconds must be from 0 to 3600",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn the_file_of_the_page_is_valid() {
    let page = include_str!("../../../../docs/silences.md");
    let (_, rest) = page.split_once("```yaml\n# alertmanager.yaml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    assert_eq!(error(file), "");
}
