//! Files that name targets and hold secrets: no error shows a value of such a file, only the field and what is expected.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_yaml_ng::Value;

use crate::secret::Secret;
use crate::target::{Credential, Target};
use crate::url::{InvalidUrl, Url};

/// The largest file.
const MAX_BYTES: u64 = 256 * 1024;

/// The fields of a target in a file.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetFields {
    /// Where it is.
    pub url: Option<String>,
    /// A file with the URL.
    pub url_file: Option<String>,
    /// Its certificate authorities as PEM.
    pub ca_bundle: Option<String>,
    /// A bearer token.
    pub bearer_token: Option<String>,
    /// A file with the bearer token.
    pub bearer_token_file: Option<String>,
}

impl std::fmt::Debug for TargetFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It has the URL and the token.
        f.write_str("TargetFields")
    }
}

impl TargetFields {
    /// The target, and the secrets that were read for it; relative files are in this directory. The error begins with the
    /// name of the field.
    pub fn target(
        &self,
        parse: fn(&str) -> Result<Url, InvalidUrl>,
        directory: &Path,
    ) -> Result<(Target, Vec<Secret>), String> {
        let url = secret(self.url.as_deref(), self.url_file.as_deref(), "url", directory)?;
        let url = url.ok_or("url is missing; give url or urlFile")?;
        let token = secret(
            self.bearer_token.as_deref(),
            self.bearer_token_file.as_deref(),
            "bearerToken",
            directory,
        )?;
        let mut target = Target::new(parse(url.expose()).map_err(|error| format!("url {error}"))?);
        if let Some(bundle) = &self.ca_bundle {
            target = target
                .with_ca_bundle(bundle)
                .map_err(|error| format!("caBundle {error}"))?;
        }
        if let Some(token) = &token {
            target = target.with_credential(Credential::Bearer(token.clone()));
        }
        Ok((target, [url].into_iter().chain(token).collect()))
    }
}

/// Reads a file of limited size.
pub fn read_text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = fs::File::open(path).map_err(|error| error.to_string())?;
    let read = opened.take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    Ok(text)
}

/// Decodes a file of YAML.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    if text.trim().is_empty() {
        return Err("the file is empty".to_owned());
    }
    let value: Value = serde_yaml_ng::from_str(text).map_err(|error| {
        let place = error
            .location()
            .map(|at| format!(" near line {}, column {}", at.line(), at.column()));
        format!("the file is not valid YAML{}", place.unwrap_or_default())
    })?;
    decode_value(value)
}

/// Decodes a part of a file; the error names the field and what is expected, never what is there.
pub fn decode_value<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let text = error.inner().to_string();
        let path = match error.path().to_string().as_str() {
            "." => String::new(),
            path => format!("{path} "),
        };
        match (text.split_once("expected "), text.starts_with("missing field")) {
            // These names are ours.
            (_, true) => text.clone(),
            (Some((_, expected)), false) => format!("{path}is not what is expected there: {expected}"),
            (None, false) => format!("{path}cannot be decoded"),
        }
    })
}

/// The value of a field, or of the file that the field beside it names.
fn secret(value: Option<&str>, file: Option<&str>, field: &str, directory: &Path) -> Result<Option<Secret>, String> {
    let secret = match (value, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(format!("{field} and {field}File are both set; give one of them")),
        (Some(value), None) => Secret::new(value),
        (None, Some(file)) => {
            // An absolute path replaces the directory.
            let text = read_text(&directory.join(file));
            Secret::new(&text.map_err(|error| format!("{field}File cannot be read: {error}"))?)
        }
    };
    if secret.is_empty() {
        return Err(format!("{field} is empty"));
    }
    Ok(Some(secret))
}
