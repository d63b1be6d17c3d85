//! One hollow node and one namespace per scene, and a drain that names itself in the audit log.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use lockkeeper_drain::{Cause, Error, OwnPods, Progress, Settings, drain, eviction_client};
use lockkeeper_e2e::audit::Request;
use lockkeeper_e2e::control_plane::ControlPlane;
use lockkeeper_e2e::hollow;
use lockkeeper_e2e::workload::is_ready;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// A loaded machine takes its time.
pub(crate) const LIMIT: Duration = Duration::from_mins(5);
const GATEWAY_TIMEOUT: u16 = 504;

/// Where one test happens.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) node: String,
    pub(crate) namespace: String,
    kubeconfig: std::path::PathBuf,
}

/// A drain that runs.
pub(crate) struct Running {
    pub(crate) progress: watch::Receiver<Progress>,
    task: JoinHandle<Result<(), Error>>,
    pub(crate) settings: Settings,
}

impl Scene {
    /// Creates the namespace; no other scene uses the node.
    pub(crate) async fn new(plane: &ControlPlane, node: &str, name: &str) -> Result<Self> {
        let client = plane.client();
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await?;
        Ok(Self {
            client,
            node: node.to_owned(),
            namespace: name.to_owned(),
            kubeconfig: plane.kubeconfig(),
        })
    }

    /// The same scene seen from another node.
    pub(crate) fn at(&self, node: &str) -> Self {
        Self {
            node: node.to_owned(),
            ..self.clone()
        }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn budgets(&self) -> Api<PodDisruptionBudget> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Runs `replicas` pods labelled `app={app}` on the scene's node, and waits until all run.
    pub(crate) async fn run(&self, app: &str, replicas: usize, seconds: u32) -> Result<()> {
        let annotations = json!({hollow::TERMINATION_SECONDS: seconds.to_string()});
        self.make(app, replicas, &[&self.node], &annotations).await?;
        self.wait_ready(app, replicas).await
    }

    /// Makes a replica set whose pods run on any of these nodes.
    pub(crate) async fn make(&self, app: &str, replicas: usize, nodes: &[&str], annotations: &Value) -> Result<()> {
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": nodes});
        let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [here]}]});
        let set = json!({
            "metadata": {"name": app},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": app}},
                "template": {
                    "metadata": {"labels": {"app": app}, "annotations": annotations},
                    "spec": {
                        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
                        "containers": [{"name": "a", "image": "a"}],
                    },
                },
            },
        });
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
        sets.create(&PostParams::default(), &serde_json::from_value(set)?)
            .await?;
        Ok(())
    }

    pub(crate) async fn wait_ready(&self, app: &str, replicas: usize) -> Result<()> {
        let params = ListParams::default().labels(&format!("app={app}"));
        let begin = Instant::now();
        loop {
            let ready = self
                .pods()
                .list(&params)
                .await?
                .items
                .iter()
                .filter(|pod| is_ready(pod))
                .count();
            if ready == replicas {
                return Ok(());
            }
            ensure!(
                begin.elapsed() < LIMIT,
                "{ready} of {replicas} pods of {}/{app} are ready",
                self.namespace
            );
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Makes a pod from `spec` laid over a plain one; pods that are bound need no scheduler.
    pub(crate) async fn pod(&self, name: &str, change: Value) -> Result<Pod> {
        let mut pod = json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": self.node, "containers": [{"name": "a", "image": "a"}]},
        });
        merge(&mut pod, change);
        Ok(self
            .pods()
            .create(&PostParams::default(), &serde_json::from_value(pod)?)
            .await?)
    }

    /// Makes a budget over `app` and waits until it is counted, with every pod as it is now.
    pub(crate) async fn budget(&self, name: &str, app: &str, spec: Value) -> Result<()> {
        let mut budget = json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": app}}}});
        merge(&mut budget["spec"], spec);
        self.budgets()
            .create(&PostParams::default(), &serde_json::from_value(budget)?)
            .await?;
        let begin = Instant::now();
        let pods = ListParams::default().labels(&format!("app={app}"));
        loop {
            let budget = self.budgets().get(name).await?;
            let ready = self
                .pods()
                .list(&pods)
                .await?
                .iter()
                .filter(|pod| is_ready(pod))
                .count();
            // The controller may have been a moment behind the pods when it counted first.
            let counted = |healthy: i32| usize::try_from(healthy).is_ok_and(|healthy| healthy == ready);
            if budget
                .status
                .is_some_and(|status| status.observed_generation.is_some() && counted(status.current_healthy))
            {
                return Ok(());
            }
            ensure!(begin.elapsed() < LIMIT, "budget {name} is not counted");
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn change_budget(&self, name: &str, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.budgets().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub(crate) async fn delete_pod(&self, name: &str) -> Result<()> {
        self.pods().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Cordons the node and starts a drain.
    pub(crate) async fn drain(&self) -> Result<Running> {
        self.drain_with(|settings| settings).await
    }

    pub(crate) async fn drain_with(&self, change: impl FnOnce(Settings) -> Settings) -> Result<Running> {
        self.cordon().await?;
        self.drain_as(&self.kubeconfig.clone(), change).await
    }

    pub(crate) async fn cordon(&self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"spec": {"unschedulable": true}}));
        nodes.patch(&self.node, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Starts a drain of the node, cordoned a moment ago, with the rights of a kubeconfig.
    pub(crate) async fn drain_as(
        &self,
        kubeconfig: &std::path::Path,
        change: impl FnOnce(Settings) -> Settings,
    ) -> Result<Running> {
        let settings = change(self.settings());
        let mut config = config(kubeconfig).await?;
        config
            .headers
            .push((http::header::USER_AGENT, http::HeaderValue::from_str(&self.agent())?));
        let (to, progress) = watch::channel(Progress::Starting);
        let task = tokio::spawn(drain(eviction_client(config)?, settings.clone(), to));
        Ok(Running {
            progress,
            task,
            settings,
        })
    }

    pub(crate) async fn uncordon(&self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"spec": {"unschedulable": null}}));
        nodes.patch(&self.node, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// A drain of the node, cordoned just now.
    pub(crate) fn settings(&self) -> Settings {
        let own = OwnPods::in_namespace("lockkeeper-system");
        Settings::new(&self.node, own, SystemTime::now().into())
    }

    /// The administrator's configuration.
    pub(crate) async fn config(&self) -> Result<Config> {
        config(&self.kubeconfig).await
    }

    /// How the scene's drains name themselves.
    pub(crate) fn agent(&self) -> String {
        format!("drain-{}", self.namespace)
    }

    /// What the drain asked, from the audit log, without the requests that ran out of time in the API server.
    ///
    /// Evictions of one budget's pods that meet each other conflict when they write the budget. The API server answers
    /// 504 to the one that lost too often, because it could not update the budget, and the drain asks again. How many do
    /// depends on how busy the machine is.
    pub(crate) fn asked(&self, plane: &ControlPlane) -> Result<Vec<Request>> {
        let all = plane.requests()?;
        Ok(all
            .into_iter()
            .filter(|request| request.program() == self.agent() && request.code != GATEWAY_TIMEOUT)
            .collect())
    }

    /// The drain's evictions from the audit log: name and code.
    pub(crate) fn evictions(&self, plane: &ControlPlane) -> Result<Vec<(String, u16)>> {
        let evictions = self
            .asked(plane)?
            .into_iter()
            .filter(|request| request.resource == "pods/eviction");
        Ok(evictions.map(|request| (request.name, request.code)).collect())
    }
}

impl Running {
    /// Waits until the progress is as asked for.
    pub(crate) async fn until(&mut self, what: impl Fn(&Progress) -> bool) -> Result<Progress> {
        if let Ok(found) = timeout(LIMIT, self.progress.wait_for(what)).await {
            return Ok(found.context("the drain ended before")?.clone());
        }
        bail!(
            "the drain of {} did not get there: {:?}",
            self.settings.node,
            *self.progress.borrow()
        )
    }

    /// Waits for a blocker with these words.
    pub(crate) async fn blocked_by(&mut self, words: &str) -> Result<()> {
        let says = |progress: &Progress| {
            blockers(progress)
                .iter()
                .any(|blocker| blocker.to_string().contains(words))
        };
        self.until(says)
            .await
            .map(drop)
            .with_context(|| format!("waiting for: {words}"))
    }

    /// Waits for the end.
    pub(crate) async fn done(mut self) -> Result<Progress> {
        match timeout(LIMIT, &mut self.task).await {
            Ok(result) => result??,
            Err(_) => bail!(
                "the drain of {} does not end: {:?}",
                self.settings.node,
                *self.progress.borrow()
            ),
        }
        Ok(self.progress.borrow().clone())
    }
}

/// The end of a drain without a word about data or volumes.
pub(crate) fn done(moved: usize, stayed: usize) -> Progress {
    Progress::Done {
        moved,
        stayed,
        with_empty_dir: 0,
        still_attached: Vec::new(),
        returning: Vec::new(),
    }
}

pub(crate) fn blockers(progress: &Progress) -> &[Cause] {
    match progress {
        Progress::Running { waiting_on, .. } => waiting_on,
        Progress::Starting | Progress::Done { .. } => &[],
    }
}

async fn config(kubeconfig: &std::path::Path) -> Result<Config> {
    let read = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}
