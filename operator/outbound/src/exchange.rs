//! One request and its answer over a connection that stands.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::error::Error;
use crate::target::Target;

/// How much of a server's text an error shows.
const SHOWN: usize = 300;
/// A server that wants to be left alone for longer is asked again after this.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The body, of limited length. It is the server's: clean what is shown of it.
    pub body: Bytes,
    /// When to ask again, if the server says so in seconds.
    pub retry_after: Option<Duration>,
}

impl Response {
    /// The body of a success; an error for every other status.
    pub fn success(self, target: &Target) -> Result<Bytes, Error> {
        let (url, status) = (target.url().clone(), self.status);
        if status.is_success() {
            Ok(self.body)
        } else if status.is_redirection() {
            Err(Error::Redirect { url, status })
        } else {
            let body = target.cleaned(&String::from_utf8_lossy(&self.body), SHOWN);
            Err(Error::Status {
                url,
                status,
                body,
                retry_after: self.retry_after,
            })
        }
    }
}

/// What a request says beside its target.
pub(crate) struct Message<'a> {
    pub(crate) method: Method,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) headers: &'a [(&'static str, &'a str)],
    pub(crate) body: Bytes,
}

/// Sends one request and reads its answer, of at most `limit` bytes.
pub(crate) async fn exchange<S>(
    stream: S,
    target: &Target,
    message: Message<'_>,
    user_agent: &str,
    limit: usize,
) -> Result<Response, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: &(dyn std::error::Error + 'static)| Error::Protocol {
        url: target.url().clone(),
        cause: target.cleaned(&chain(error), SHOWN),
    };
    let request = request(target, message, user_agent)?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
    // Ends with this function, also if its caller stops waiting.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    match Limited::new(response.into_body(), limit).collect().await {
        Ok(body) => Ok(Response {
            status,
            body: body.to_bytes(),
            retry_after,
        }),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::BodyTooLarge {
            url: target.url().clone(),
            limit,
        }),
        Err(error) => Err(broken(error.as_ref())),
    }
}

fn request(target: &Target, message: Message<'_>, user_agent: &str) -> Result<Request<Full<Bytes>>, Error> {
    let url = target.url();
    let refused = || Error::Credential { url: url.clone() };
    let mut request = Request::builder()
        .method(message.method)
        .uri(url.path_and_query())
        .header(HOST, url.authority())
        .header(USER_AGENT, user_agent)
        .header(ACCEPT, "application/json, */*;q=0.5")
        .header(CONNECTION, "close");
    if let Some(content_type) = message.content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    for (name, value) in message.headers {
        request = request.header(*name, *value);
    }
    if let Some(credential) = target.credential() {
        let value: HeaderValue = credential.header().ok_or_else(refused)?;
        request = request.header(AUTHORIZATION, value);
    }
    request.body(Full::new(message.body)).map_err(|_| refused())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// An error with its sources in one line, each text once.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::target::Credential;
    use crate::url::Url;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn answered(target: &Target, answer: &str) -> (String, Result<Response, Error>) {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let message = Message {
            method: Method::POST,
            content_type: Some("application/json"),
            headers: &[("ce-id", "1")],
            body: Bytes::from_static(b"{}"),
        };
        let server = async move {
            let mut seen = vec![0; 4096];
            let length = theirs.read(&mut seen).await.unwrap();
            theirs.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(seen[..length].to_vec()).unwrap()
        };
        let (seen, response) = tokio::join!(server, exchange(ours, target, message, "lockkeeper/1", 100));
        (seen, response)
    }

    #[tokio::test]
    async fn a_request_names_the_host_the_sender_and_the_credential() {
        let target =
            Target::new(Url::parse("http://alerts:9093/api?x=y").unwrap()).with_credential(Credential::Basic {
                user: "u".into(),
                password: Secret::new("p"),
            });
        let (seen, response) = answered(&target, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(response.unwrap().success(&target).unwrap(), "ok");
        let lines: Vec<_> = seen.split("\r\n").collect();
        assert_eq!(lines[0], "POST /api?x=y HTTP/1.1");
        for header in [
            "host: alerts:9093",
            "user-agent: lockkeeper/1",
            "content-type: application/json",
            "ce-id: 1",
            "authorization: Basic dTpw",
            "connection: close",
        ] {
            assert!(lines.contains(&header), "{header} in {lines:?}");
        }
    }

    #[tokio::test]
    async fn an_error_shows_the_servers_text_without_our_secrets() {
        let target = Target::new(Url::secret("http://chat/services/T0?key=k1").unwrap())
            .with_credential(Credential::Bearer(Secret::new("hunter2")));
        let answer = "HTTP/1.1 403 Forbidden\r\nretry-after: 7\r\nconnection: close\r\n\r\n\
                      no \u{1b}[2J hunter2 for /services/T0?key=k1\n";
        let (_, response) = answered(&target, answer).await;
        let error = response.unwrap().success(&target).unwrap_err();
        assert_eq!(
            error.to_string(),
            "http://chat/… answered 403 Forbidden: no �[2J [redacted] for [redacted]?[redacted]"
        );
        assert!(!error.is_temporary());
        let Error::Status { retry_after, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn a_credential_that_no_header_can_carry_is_an_error_without_it() {
        let target =
            Target::new(Url::parse("http://host/").unwrap()).with_credential(Credential::Bearer(Secret::new("a\nb")));
        let message = Message {
            method: Method::GET,
            content_type: None,
            headers: &[],
            body: Bytes::new(),
        };
        let error = request(&target, message, "lockkeeper/1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the credential for http://host/ contains a character that an HTTP header cannot carry; check its Secret"
        );
    }
}
