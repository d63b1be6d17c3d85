//! Each error names the step, the object and the remedy.

use expect_test::{Expect, expect};

use super::run;
use super::server::{Fault, Server};

const JOB: &str = "GET /apis/batch/v1/namespaces/lockkeeper-system/jobs/";
const TEMPLATE: &str = "GET /apis/batch/v1/namespaces/lockkeeper-system/cronjobs/fsck";
const CREATE: &str = "POST /apis/batch/v1/namespaces/lockkeeper-system/jobs";

async fn check(request: &'static str, code: u16, reason: &'static str, message: &str, expected: Expect) {
    let server = Server::new();
    server.fails(request, Fault::Status(code, reason, message.to_owned()));
    let error = server.jobs().run(&run()).await.unwrap_err().to_string();
    expected.assert_eq(&error.replace(&run().name(), "JOB"));
    assert!(server.state().jobs.is_empty());
}

fn not_permitted(verb: &str, resource: &str) -> String {
    format!(
        "{resource}.batch \"x\" is forbidden: User \"system:serviceaccount:lockkeeper-system:lockkeeper-operator\" cannot \
         {verb} resource \"{resource}\" in API group \"batch\" in the namespace \"lockkeeper-system\""
    )
}

#[tokio::test]
async fn a_missing_template_is_named() {
    let message = "cronjobs.batch \"fsck\" not found";
    let expected = expect![
        "CronJob lockkeeper-system/fsck does not exist; create it with suspend: true, or correct the name of the template"
    ];
    check(TEMPLATE, 404, "NotFound", message, expected).await;
}

#[tokio::test]
async fn a_missing_right_names_the_value_of_the_chart() {
    let expected = expect![
        "cannot read CronJob lockkeeper-system/fsck: not permitted; name fsck in the chart's value jobs.templates, or apply a Role that lets the operator get this CronJob, and create, get and delete Jobs in namespace lockkeeper-system"
    ];
    check(TEMPLATE, 403, "Forbidden", &not_permitted("get", "cronjobs"), expected).await;
    let expected = expect![
        "cannot read Job lockkeeper-system/JOB: not permitted; name fsck in the chart's value jobs.templates, or apply a Role that lets the operator get this CronJob, and create, get and delete Jobs in namespace lockkeeper-system"
    ];
    check(JOB, 403, "Forbidden", &not_permitted("get", "jobs"), expected).await;
    let expected = expect![
        "cannot create Job lockkeeper-system/JOB: not permitted; name fsck in the chart's value jobs.templates, or apply a Role that lets the operator get this CronJob, and create, get and delete Jobs in namespace lockkeeper-system"
    ];
    check(CREATE, 403, "Forbidden", &not_permitted("create", "jobs"), expected).await;
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_no_missing_right() {
    let message = "jobs.batch \"x\" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1, used: \
                   count/jobs.batch=5, limited: count/jobs.batch=5";
    check(CREATE, 403, "Forbidden", message, expect![[r#"cannot create Job lockkeeper-system/JOB: jobs.batch "x" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5 (403); raise the quota of the namespace, or delete Jobs that are not needed"#]]).await;
}

#[tokio::test]
async fn a_job_that_is_refused_names_its_template() {
    let message = "Job.batch \"x\" is invalid: spec.template.spec.restartPolicy: Required value: valid values: \
                   \"OnFailure\", \"Never\"";
    check(CREATE, 422, "Invalid", message, expect![[r#"cannot create Job lockkeeper-system/JOB: Job.batch "x" is invalid: spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never" (422); correct the jobTemplate of CronJob lockkeeper-system/fsck"#]]).await;
    let message = "admission webhook \"images.example.com\" denied the request: image fsck has no digest";
    check(CREATE, 403, "Forbidden", message, expect![[r#"cannot create Job lockkeeper-system/JOB: admission webhook "images.example.com" denied the request: image fsck has no digest (403); correct the jobTemplate of CronJob lockkeeper-system/fsck, or what refuses the Job"#]]).await;
}

#[tokio::test]
async fn an_error_of_the_server_is_shown_with_the_step() {
    check(
        JOB,
        500,
        "InternalError",
        "etcdserver: request timed out",
        expect!["cannot read Job lockkeeper-system/JOB: etcdserver: request timed out (500)"],
    )
    .await;
    check(
        CREATE,
        429,
        "TooManyRequests",
        "too many requests",
        expect!["cannot create Job lockkeeper-system/JOB: too many requests (429)"],
    )
    .await;
}
