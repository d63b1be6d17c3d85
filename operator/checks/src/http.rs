//! A check of an HTTP server: the status of its answer.

use bytes::Bytes;
use http::Method;
use lockkeeper_crds::HttpCheck;
use lockkeeper_planner::Finding;

use crate::error::Error;
use crate::finding::finding;
use crate::server::target;
use crate::sources::Sources;

pub(crate) async fn findings(sources: &Sources, name: &str, check: &HttpCheck) -> Result<Vec<Finding>, Error> {
    let target = target(sources, &check.server).await?;
    let sent = sources.outbound.send(Method::GET, &target, None, &[], Bytes::new());
    let status = i32::from(sent.await?.status.as_u16());
    Ok(judge(name, &target.url().to_string(), check.expected_status, status))
}

fn judge(name: &str, url: &str, expected: Option<i32>, status: i32) -> Vec<Finding> {
    let passes = expected.map_or((200..300).contains(&status), |expected| status == expected);
    if passes {
        return Vec::new();
    }
    let expected = expected.map_or("a status from 200 to 299".to_owned(), |status| {
        format!("status {status}")
    });
    vec![finding(
        name,
        "",
        &format!("{url} answers with status {status}, expected is {expected}"),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_passes_by_its_status() {
        let failing = |expected, status| judge("shop", "https://shop", expected, status).len();
        assert_eq!([failing(None, 204), failing(None, 302), failing(None, 503)], [0, 1, 1]);
        assert_eq!([failing(Some(401), 401), failing(Some(401), 200)], [0, 1]);
        assert_eq!(
            judge("shop", "https://shop", None, 503)[0].text,
            "https://shop answers with status 503, expected is a status from 200 to 299"
        );
    }
}
