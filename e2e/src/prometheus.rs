//! The real Prometheus, Alertmanager and promtool, as pinned in `cluster/prometheus`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::binaries::Binaries;
use crate::helm::{Helm, chart, documents};
use crate::process::{Process, Spec, free_port};

const POLL: Duration = Duration::from_millis(200);
const STARTS_WITHIN: Duration = Duration::from_mins(3);

/// A Prometheus that scrapes and evaluates every second, and an Alertmanager that passes every alert on by itself.
#[derive(Debug)]
pub struct Monitoring {
    /// Prometheus.
    pub prometheus: Process,
    /// Alertmanager.
    pub alertmanager: Process,
    address: String,
    alertmanager_address: String,
    targets: PathBuf,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, the name too.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Monitoring {
    /// Starts both with these rules (see [`rules`]) and no target; alerts are posted to this address, if there is one.
    pub async fn start(binaries: &Binaries, dir: &Path, rules: &str, webhook: Option<&str>) -> Result<Self> {
        let dir = dir.join("monitoring");
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            Ok::<_, anyhow::Error>(path)
        };
        let (own, manager) = (
            format!("127.0.0.1:{}", free_port()?),
            format!("127.0.0.1:{}", free_port()?),
        );
        let targets = write("targets.json", "[]")?;
        write("rules.yaml", rules)?;
        let config = write("prometheus.yaml", &prometheus_config(&manager).to_string())?;
        let routes = write("alertmanager.yaml", &alertmanager_config(webhook).to_string())?;
        let alertmanager = Spec::new("alertmanager", binaries.program("alertmanager"), &dir)
            .arg(format!("--config.file={}", routes.display()))
            .arg(format!("--storage.path={}", dir.join("alertmanager").display()))
            .arg(format!("--web.listen-address={manager}"))
            .arg("--cluster.listen-address=");
        let prometheus = Spec::new("prometheus", binaries.program("prometheus"), &dir)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={own}"))
            .arg("--rules.alert.resend-delay=1s");
        let monitoring = Self {
            prometheus: Process::spawn(prometheus)?,
            alertmanager: Process::spawn(alertmanager)?,
            address: own,
            alertmanager_address: manager,
            targets,
        };
        for address in [&monitoring.address, &monitoring.alertmanager_address] {
            wait_ready(address).await?;
        }
        Ok(monitoring)
    }

    /// The URL of Prometheus.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of Alertmanager.
    pub fn alertmanager_url(&self) -> String {
        format!("http://{}", self.alertmanager_address)
    }

    /// Scrapes these from now on: name of the pod, address.
    pub fn scrape(&self, targets: &[(String, String)]) -> Result<()> {
        let groups: Vec<Value> = targets
            .iter()
            .map(|(pod, address)| json!({"targets": [address], "labels": {"pod": pod}}))
            .collect();
        // Renamed into place: Prometheus must not read half a file.
        let new = self.targets.with_extension("new");
        std::fs::write(&new, Value::from(groups).to_string()).context("write the targets")?;
        std::fs::rename(&new, &self.targets).context("replace the targets")
    }

    /// Asks for an expression's value now.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let answer = get(&self.address, &format!("/api/v1/query?query={}", encode(expression))).await?;
        let answer: Value =
            serde_json::from_str(&answer).with_context(|| format!("read the answer to {expression}"))?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        let result = &answer["data"]["result"];
        if answer["data"]["resultType"] == "scalar" {
            return Ok(vec![sample(&Value::Null, &result[1])?]);
        }
        let series = result.as_array().with_context(|| format!("{expression}: {answer}"))?;
        series
            .iter()
            .map(|one| sample(&one["metric"], &one["value"][1]))
            .collect()
    }

    /// Asks until the answer is as wanted; the error shows the last one.
    pub async fn wait(
        &self,
        expression: &str,
        limit: Duration,
        good: impl Fn(&[Sample]) -> bool,
    ) -> Result<Vec<Sample>> {
        let end = Instant::now() + limit;
        loop {
            let samples = self.query(expression).await?;
            if good(&samples) {
                return Ok(samples);
            }
            ensure!(
                Instant::now() < end,
                "{expression} is still {samples:?} after {limit:?}"
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The rule file that the chart makes with these arguments, as Prometheus itself reads it.
pub fn rules(helm: &Helm, more: &[&str]) -> Result<String> {
    let chart = chart();
    let mut args = vec![
        "template",
        "lockkeeper",
        &chart,
        "--show-only=templates/prometheusrule.yaml",
    ];
    args.extend(["--set", "prometheusRule.enabled=true,metrics.renderMode=alwaysRender"]);
    args.extend(more);
    let rendered = documents(&helm.run(&args)?)?;
    let spec = rendered.first().map(|rule| &rule["spec"]);
    let spec = spec.context("the chart renders no PrometheusRule")?;
    serde_yaml_ng::to_string(spec).context("write the rules")
}

/// Runs promtool in a directory; an error is what it complained of.
pub fn promtool(binaries: &Binaries, dir: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(binaries.program("promtool"));
    said(command.current_dir(dir).args(args).output(), args)
}

/// What promtool says of a scrape; nothing if all is well.
pub fn check_metrics(binaries: &Binaries, scrape: &str) -> Result<String> {
    let file = tempfile::NamedTempFile::new().context("make a file")?;
    std::fs::write(file.path(), scrape).context("write the scrape")?;
    let input = std::fs::File::open(file.path()).context("open the scrape")?;
    let mut command = Command::new(binaries.program("promtool"));
    let args = ["check", "metrics"];
    said(command.args(args).stdin(input).output(), &args)
}

fn said(output: std::io::Result<Output>, args: &[&str]) -> Result<String> {
    let output = output.context("start promtool")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "promtool {}: {said}", args.join(" "));
    Ok(said)
}

fn prometheus_config(alertmanager: &str) -> Value {
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [{
            "job_name": "lockkeeper",
            "honor_labels": true,
            "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}],
        }],
    })
}

fn alertmanager_config(webhook: Option<&str>) -> Value {
    let webhooks: Vec<Value> = webhook
        .map(|address| json!({"url": format!("http://{address}/"), "send_resolved": true}))
        .into_iter()
        .collect();
    json!({
        "route": {
            "receiver": "test",
            "group_by": ["..."],
            "group_wait": "100ms",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "test", "webhook_configs": webhooks}],
    })
}

fn sample(labels: &Value, value: &Value) -> Result<Sample> {
    let value = value
        .as_str()
        .with_context(|| format!("a value that is no text: {value}"))?;
    let labels = labels.as_object().into_iter().flatten();
    Ok(Sample {
        labels: labels
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        value: value.parse().with_context(|| format!("the value {value}"))?,
    })
}

async fn wait_ready(address: &str) -> Result<()> {
    let end = Instant::now() + STARTS_WITHIN;
    loop {
        match get(address, "/-/ready").await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error.context("not ready in time")),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// The body of a good answer. HTTP/1.0, so that it comes in one piece.
async fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("reach {address}"))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.with_context(|| format!("ask {address} for {path}"))?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer).await;
    read.with_context(|| format!("read {path} of {address}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("{address}{path}: {answer}");
    }
    Ok(body.to_owned())
}

/// As a value in a URL's query.
fn encode(text: &str) -> String {
    let each = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    each.collect()
}
