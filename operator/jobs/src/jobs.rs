//! Creates the Job of a run, finds it again, and reads how far it is.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use lockkeeper_crds::names;
use lockkeeper_kube_util::post_params;
use serde_json::Value;

use crate::error::Error;
use crate::manifest;
use crate::run::JobRun;
use crate::state::{Finished, JobState, failure, finished};

/// So many pods of a failed Job are read.
const MAX_PODS: u32 = 50;

/// The Jobs that run for nodes, in the operator's own namespace.
#[derive(Clone)]
pub struct Jobs {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Jobs {
    /// The client must not retry by itself, and must write only while this replica leads.
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// Creates the Job of a run if it does not exist, and tells how far it is.
    ///
    /// It may be called again and again, and after an error: a Job whose creation got no answer is found by its name. A
    /// finished Job that a person deletes is run again.
    pub async fn run(&self, run: &JobRun) -> Result<JobState, Error> {
        // The types of Kubernetes are large, and so are the futures that hold them.
        Box::pin(self.run_unboxed(run)).await
    }

    /// Verifies that a template can be read.
    pub async fn verify(&self, template: &str) -> Result<(), Error> {
        self.template(template).await.map(drop)
    }

    /// Deletes the Job of a run, and its pods, if it exists.
    pub async fn delete(&self, run: &JobRun) -> Result<(), Error> {
        let Some(job) = Box::pin(self.read(run)).await? else {
            return Ok(());
        };
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: job.uid(),
            resource_version: None,
        });
        let name = run.name();
        match self.jobs().delete(&name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => {
                let what = format!("delete Job {}", self.full_name(&name));
                Err(Error::request(what, &error, &self.remedy(&run.template)))
            }
        }
    }

    /// `namespace/name`, for messages.
    pub fn full_name(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    async fn run_unboxed(&self, run: &JobRun) -> Result<JobState, Error> {
        match self.read(run).await? {
            Some(job) => Ok(self.state(&job).await),
            None => self.create(run).await,
        }
    }

    /// The Job of a run; an error if another Job has its name.
    async fn read(&self, run: &JobRun) -> Result<Option<Job>, Error> {
        let name = run.name();
        let read = self.jobs().get_opt(&name).await;
        let read = read.map_err(|error| {
            Error::request(
                format!("read Job {}", self.full_name(&name)),
                &error,
                &self.remedy(&run.template),
            )
        })?;
        let Some(job) = read else {
            return Ok(None);
        };
        let labels = job.labels();
        let mut others = run
            .labels()
            .into_iter()
            .filter(|(label, value)| labels.get(*label) != Some(value));
        match others.next() {
            None => Ok(Some(job)),
            Some((label, value)) => Err(Error::Foreign {
                job: self.full_name(&name),
                label,
                value,
            }),
        }
    }

    async fn create(&self, run: &JobRun) -> Result<JobState, Error> {
        let template = self.template(&run.template).await?;
        let job = manifest::job(run, &self.namespace, &template);
        let name = run.name();
        let failed = |error: &kube::Error| {
            Error::create(
                self.full_name(&name),
                self.full_name(&run.template),
                error,
                &self.remedy(&run.template),
            )
        };
        let job: DynamicObject =
            serde_json::from_value(job).map_err(|error| failed(&kube::Error::SerdeError(error)))?;
        let jobs: Api<DynamicObject> = self.dynamic(&ApiResource::erase::<Job>(&()));
        match jobs.create(&post_params(names::OPERATOR_MANAGER), &job).await {
            Ok(_) => Ok(JobState::Running),
            // Another leader, or a request that got no answer, created it a moment ago.
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => match self.read(run).await? {
                Some(job) => Ok(self.state(&job).await),
                None => Ok(JobState::Running),
            },
            Err(error) => Err(failed(&error)),
        }
    }

    async fn template(&self, name: &str) -> Result<Value, Error> {
        let api: Api<DynamicObject> = self.dynamic(&ApiResource::erase::<CronJob>(&()));
        let template = self.full_name(name);
        match api.get_opt(name).await {
            Ok(Some(found)) => Ok(found.data),
            Ok(None) => Err(Error::NoTemplate { template }),
            Err(error) => {
                let what = format!("read CronJob {template}");
                Err(Error::request(what, &error, &self.remedy(name)))
            }
        }
    }

    async fn state(&self, job: &Job) -> JobState {
        match finished(job) {
            None => JobState::Running,
            Some(Finished::Complete) => JobState::Succeeded,
            Some(Finished::Failed { reason, message, at }) => {
                let pods = self.pods(job).await;
                JobState::Failed {
                    message: failure(&self.full_name(&job.name_any()), reason, message, &pods),
                    at,
                }
            }
        }
    }

    /// The pods of a Job; without them, its failure is only told in less detail.
    async fn pods(&self, job: &Job) -> Vec<Pod> {
        let uid = job.uid().unwrap_or_default();
        let selector = format!("batch.kubernetes.io/controller-uid={uid}");
        let params = ListParams::default().labels(&selector).limit(MAX_PODS);
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        api.list(&params).await.map(|list| list.items).unwrap_or_default()
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn dynamic(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, resource)
    }

    /// What helps if a right is missing.
    fn remedy(&self, template: &str) -> String {
        format!(
            "name {template} in the chart's value jobs.templates, or apply a Role that lets the operator get this CronJob, \
             and create, get and delete Jobs in namespace {}",
            self.namespace
        )
    }
}
