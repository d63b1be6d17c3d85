//! The client against servers in this process: with TLS of a private authority, and without.

#![allow(clippy::unwrap_used)]

mod server;

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use lockkeeper_outbound::{Client, Credential, Error, Limits, Refused, Secret, Step, Target, Url};
use server::{Authority, answer, serve, serve_tls};

fn target(url: &str) -> Target {
    Target::new(Url::parse(url).unwrap())
}

fn quick() -> Client {
    Client::new(Limits {
        total: Duration::from_millis(200),
        ..Limits::default()
    })
}

#[tokio::test]
async fn a_server_with_a_private_authority_is_asked_over_tls() {
    let authority = Authority::new();
    let (port, seen) = serve_tls(&authority, "localhost", answer("200 OK", "", "ok")).await;
    let target = target(&format!("https://localhost:{port}/api"))
        .with_ca_bundle(&authority.pem)
        .unwrap()
        .with_credential(Credential::Bearer(Secret::new("hunter2")));
    let posted = Client::default()
        .post(&target, "application/json", Bytes::from_static(b"{}"))
        .await;
    assert_eq!(posted.unwrap(), "ok");
    let seen = seen.await.unwrap();
    assert!(seen.starts_with("POST /api HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains(&format!("user-agent: lockkeeper/{}", env!("CARGO_PKG_VERSION"))),
        "{seen}"
    );
    assert!(seen.contains("authorization: Bearer hunter2"), "{seen}");
    assert!(seen.ends_with("\r\n\r\n{}"), "{seen}");
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_is_not_set_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    for bundle in [None, Some(&other.pem)] {
        let (port, _) = serve_tls(&authority, "localhost", answer("200 OK", "", "ok")).await;
        let mut target = target(&format!("https://localhost:{port}/"));
        if let Some(pem) = bundle {
            target = target.with_ca_bundle(pem).unwrap();
        }
        let error = Client::default().get(&target).await.unwrap_err();
        assert!(matches!(error, Error::Tls { .. }), "{error}");
        assert!(error.to_string().contains("invalid peer certificate: "), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let (port, _) = serve_tls(&authority, "prometheus.example", answer("200 OK", "", "ok")).await;
    let target = target(&format!("https://localhost:{port}/"))
        .with_ca_bundle(&authority.pem)
        .unwrap();
    let error = Client::default().get(&target).await.unwrap_err();
    assert!(
        error.to_string().contains("not valid for name \"localhost\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_is_an_error_and_is_not_followed() {
    let elsewhere = serve(answer("200 OK", "", "secret")).await;
    let location = format!("location: http://127.0.0.1:{}/\r\n", elsewhere.0);
    let (port, _) = serve(answer("302 Found", &location, "")).await;
    let error = Client::default()
        .get(&target(&format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Redirect {
                status: StatusCode::FOUND,
                ..
            }
        ),
        "{error}"
    );
    assert!(!elsewhere.1.is_finished(), "the other server got no request");
}

#[tokio::test]
async fn a_status_that_is_no_success_is_an_error_with_the_servers_text() {
    let (port, _) = serve(answer("503 Service Unavailable", "", "no\nleader")).await;
    let target = target(&format!("http://127.0.0.1:{port}/health?token=hunter2"));
    let error = Client::default().get(&target).await.unwrap_err();
    let text = format!("http://127.0.0.1:{port}/health answered 503 Service Unavailable: no leader");
    assert_eq!(error.to_string(), text);
    assert!(error.is_temporary());
}

#[tokio::test]
async fn an_answer_of_more_than_a_mebibyte_is_an_error() {
    let limit = Limits::default().body;
    for (length, is_error) in [(limit, false), (limit + 1, true)] {
        let (port, _) = serve(answer("200 OK", "", &"x".repeat(length))).await;
        let got = Client::default()
            .get(&target(&format!("http://127.0.0.1:{port}/")))
            .await;
        assert_eq!(matches!(got, Err(Error::BodyTooLarge { .. })), is_error, "{length}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left_after_the_limit() {
    // The listener accepts, and nothing is ever sent.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (scheme, expected) in [("http", Step::Answer), ("https", Step::Tls)] {
        let error = quick()
            .get(&target(&format!("{scheme}://127.0.0.1:{port}/")))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Timeout { step, .. } if step == expected),
            "{error}"
        );
        assert!(error.to_string().contains("within 0.2 s, while"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_sends_its_answer_too_slowly_is_left_after_the_limit() {
    let (port, _) = serve("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx".to_owned() + server::HOLD).await;
    let error = quick()
        .get(&target(&format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { step: Step::Answer, .. }), "{error}");
}

#[tokio::test]
async fn a_port_without_a_server_is_named_with_its_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = Client::default()
        .get(&target(&format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1: Connection refused"), "{error}");
}

#[tokio::test]
async fn a_host_without_an_address_is_an_error_of_its_look_up() {
    let error = Client::default()
        .get(&target("http://prometheus.invalid/"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Resolve { .. }
                | Error::Timeout {
                    step: Step::Resolve,
                    ..
                }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn no_request_is_sent_to_a_metadata_service() {
    for (url, expected) in [
        ("http://169.254.169.254/latest/meta-data/iam", Refused::LinkLocal),
        ("http://[::ffff:a9fe:a9fe]/computeMetadata/v1/", Refused::LinkLocal),
        ("http://[fd00:ec2::254]/latest", Refused::Metadata),
        ("http://0.0.0.0/", Refused::NoServer),
    ] {
        let error = Client::default().get(&target(url)).await.unwrap_err();
        assert!(
            matches!(&error, Error::Address { reason, .. } if *reason == expected),
            "{error}"
        );
        assert!(!error.is_temporary());
    }
}

#[tokio::test]
async fn the_text_of_a_server_that_speaks_no_http_is_not_shown_as_it_is() {
    let (port, _) = serve("SSH-2.0-OpenSSH_10\r\n\u{1b}[2J".to_owned()).await;
    let error = Client::default()
        .get(&target(&format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}
