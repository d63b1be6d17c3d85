//! The server of a check: its URL, its certificate authorities and its token, the last two from Secrets.

use k8s_openapi::api::core::v1::Secret as CoreSecret;
use kube::Api;
use lockkeeper_crds::{SecretKey, Server};
use lockkeeper_outbound::{Credential, Secret, Target, Url};

use crate::error::Error;
use crate::sources::Sources;

/// What helps if the operator may not read a Secret.
const SECRET_RIGHT: &str =
    "name the Secret in the chart's value checks.secrets, or apply a Role that lets the operator get it";

/// Where a check's request goes. Secrets are read each time: a token that was renewed is used at once.
pub(crate) async fn target(sources: &Sources, server: &Server) -> Result<Target, Error> {
    let field = |field, cause: String| Error::Field { field, cause };
    let url = Url::parse(&server.url).map_err(|error| field("url", error.to_string()))?;
    let mut target = Target::new(url);
    if let Some(key) = &server.ca {
        let pem = secret(sources, key).await?;
        let with_ca = target.with_ca_bundle(&pem);
        target = with_ca.map_err(|error| field("ca", error.to_string()))?;
    }
    if let Some(key) = &server.bearer_token {
        let token = secret(sources, key).await?;
        target = target.with_credential(Credential::Bearer(Secret::new(&token)));
    }
    Ok(target)
}

async fn secret(sources: &Sources, from: &SecretKey) -> Result<String, Error> {
    let secrets: Api<CoreSecret> = Api::namespaced(sources.client.clone(), &sources.namespace);
    let name = format!("{}/{}", sources.namespace, from.name);
    let read = secrets.get(&from.name).await;
    let secret = read.map_err(|error| Error::kubernetes(format!("read Secret {name}"), error, SECRET_RIGHT))?;
    let value = secret.data.as_ref().and_then(|data| data.get(&from.key));
    let value = value.ok_or_else(|| Error::NoKey {
        name,
        key: from.key.clone(),
    })?;
    Ok(String::from_utf8_lossy(&value.0).into_owned())
}
