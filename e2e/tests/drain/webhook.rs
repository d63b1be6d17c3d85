//! An admission webhook of our own that refuses evictions, over TLS as the API server wants it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use lockkeeper_drain::{Progress, eviction_client, preflight};
use lockkeeper_e2e::control_plane::ControlPlane;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::fixture::{Scene, done};

const NAME: &str = "evictions.e2e.lockkeeper.dev";

/// What the webhook knows.
#[derive(Debug, Default)]
struct Gatekeeper {
    open: AtomicBool,
    asked: AtomicUsize,
}

impl Gatekeeper {
    /// Pods called `later-...` are refused with 429, `strict-...` with 403, until it is opened; others go.
    fn review(&self, review: &Value) -> Value {
        let request = &review["request"];
        let dry_run = request["dryRun"] == true;
        self.asked.fetch_add(usize::from(!dry_run), Ordering::SeqCst);
        let name = request["name"].as_str().unwrap_or_default();
        let refusal = match name.split('-').next() {
            _ if self.open.load(Ordering::SeqCst) => None,
            Some("later") => Some((429, "migrating first")),
            Some("strict") => Some((403, "not before Monday")),
            Some(_) | None => None,
        };
        let status = refusal.map(|(code, message)| json!({"code": code, "message": message}));
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": request["uid"], "allowed": status.is_none(), "status": status},
        })
    }
}

/// Serves until the test ends.
async fn serve(plane: &ControlPlane, gatekeeper: Arc<Gatekeeper>) -> Result<SocketAddr> {
    let identity = plane.pki().server("webhook", &["127.0.0.1"])?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, gatekeeper) = (acceptor.clone(), gatekeeper.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await?;
                let answer = service_fn(move |request| answer(request, gatekeeper.clone()));
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await?;
                anyhow::Ok(())
            });
        }
    });
    Ok(address)
}

async fn answer(request: http::Request<Incoming>, gatekeeper: Arc<Gatekeeper>) -> Result<http::Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let answer = gatekeeper.review(&serde_json::from_slice(&body)?);
    let response = http::Response::builder().header(http::header::CONTENT_TYPE, "application/json");
    Ok(response.body(Full::new(Bytes::from(answer.to_string())))?)
}

pub(super) async fn what_a_webhook_says_is_shown_and_asked_again_until_it_agrees(
    plane: &ControlPlane,
    node: &str,
) -> Result<()> {
    let scene = Scene::new(plane, node, "webhook").await?;
    for app in ["later", "strict", "fine"] {
        scene.run(app, 1, 1).await?;
    }
    let gatekeeper = Arc::new(Gatekeeper::default());
    let address = serve(plane, gatekeeper.clone()).await?;
    let webhook = json!({
        "name": NAME,
        "clientConfig": {"url": format!("https://{address}/"), "caBundle": ByteString(plane.pki().ca().as_bytes().to_vec())},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}},
        "sideEffects": "NoneOnDryRun", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
    });
    let configuration = json!({"metadata": {"name": NAME}, "webhooks": [webhook]});
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(scene.client.clone());
    configurations
        .create(&PostParams::default(), &serde_json::from_value(configuration)?)
        .await?;
    let client = eviction_client(scene.config().await?)?;
    // The API server takes a webhook up a moment after it was made.
    let refusal = format!("admission webhook \"{NAME}\" denied the request: not before Monday");
    let found = loop {
        let found = preflight(&client, &scene.settings()).await?;
        if !found.blockers.is_empty() {
            break found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    };
    let words: Vec<String> = found.blockers.iter().map(ToString::to_string).collect();
    ensure!(
        words.len() == 1 && words[0].starts_with("pod webhook/strict-") && words[0].ends_with(&refusal),
        "429 means that asking helps: {words:?}"
    );
    ensure!(
        gatekeeper.asked.load(Ordering::SeqCst) == 0,
        "a preflight only asks what if"
    );

    let mut running = scene.drain().await?;
    running.blocked_by(&refusal).await?;
    let later = format!("admission webhook \"{NAME}\" denied the request: migrating first");
    running.blocked_by(&later).await?;
    running
        .until(|progress| {
            matches!(
                progress,
                Progress::Running {
                    moved: 1,
                    remaining: 2,
                    ..
                }
            )
        })
        .await
        .context("the third pod is delayed by the others")?;
    gatekeeper.open.store(true, Ordering::SeqCst);
    ensure!(running.done().await? == done(3, 0));
    configurations.delete(NAME, &DeleteParams::default()).await?;
    let codes: Vec<u16> = scene.evictions(plane)?.into_iter().map(|(_, code)| code).collect();
    ensure!(codes.contains(&403) && codes.contains(&429), "{codes:?}");
    ensure!(codes.len() <= 9, "asked in a storm: {codes:?}");
    Ok(())
}
