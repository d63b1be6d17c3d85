//! Tokens of service accounts as the kubelet would get them, for programs that run on this machine.
//!
//! They come from the `TokenRequest` API and are bound to a Node or a Pod, so the API server puts the node's name and
//! uid into the user's extra fields, and RBAC and admission policies judge a host process as they judge a pod.

use std::path::PathBuf;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;

use crate::control_plane::ControlPlane;
use crate::pki::{Credential, write_private};

/// Long enough for any test; the API server's own limit for a bound token.
const EXPIRATION_SECONDS: i64 = 12 * 3600;

/// A service account by namespace and name.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
}

/// What a token is bound to; it stops working when that object goes.
#[derive(Debug, Clone, Copy)]
pub enum Bound<'a> {
    Nothing,
    /// A Node, by name.
    Node(&'a str),
    /// A pod of the account's namespace, which must run as the account.
    Pod(&'a str),
}

impl ControlPlane {
    /// Asks for a token.
    pub async fn token(&self, account: Account<'_>, bound: Bound<'_>) -> Result<String> {
        let reference = |kind: &str, name: &str| BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(kind.to_owned()),
            name: Some(name.to_owned()),
            uid: None,
        };
        let bound_object_ref = match bound {
            Bound::Nothing => None,
            Bound::Node(name) => Some(reference("Node", name)),
            Bound::Pod(name) => Some(reference("Pod", name)),
        };
        let spec = TokenRequestSpec {
            audiences: Vec::new(),
            bound_object_ref,
            expiration_seconds: Some(EXPIRATION_SECONDS),
        };
        let request = TokenRequest {
            spec,
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), account.namespace);
        let answer = accounts
            .create_token_request(account.name, &PostParams::default(), &request)
            .await;
        let answer = answer.with_context(|| {
            format!(
                "ask for a token of {}/{} bound to {bound:?}",
                account.namespace, account.name
            )
        })?;
        Ok(answer.status.context("the API server answered without a token")?.token)
    }

    /// Writes `NAME.token` and `NAME.kubeconfig`, which names the token's file, and returns the second one's path.
    pub async fn token_kubeconfig(&self, name: &str, account: Account<'_>, bound: Bound<'_>) -> Result<PathBuf> {
        let token = self.token(account, bound).await?;
        let dir = self.dir().join("tokens");
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let token_file = dir.join(format!("{name}.token"));
        write_private(&token_file, &token)?;
        let kubeconfig = dir.join(format!("{name}.kubeconfig"));
        let text = self.pki().kubeconfig(&self.url(), Credential::TokenFile(&token_file))?;
        write_private(&kubeconfig, &text)?;
        Ok(kubeconfig)
    }
}
