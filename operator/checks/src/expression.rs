//! CEL expressions, evaluated in a process of their own.
//!
//! An expression is the administrator's, and the object is anybody's who may write it: a panic, an endless evaluation or a
//! stack overflow of the interpreter must not end the operator. So the operator starts itself once more for each evaluation,
//! which gets expression and object on its standard input, and has limited time.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cel::{Context, Env, Value};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::Error;

/// An evaluation that takes longer is ended.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How expressions are evaluated.
#[derive(Clone, Debug)]
pub enum Expressions {
    /// By this program with these arguments, whose `main` calls [`evaluate_from_stdin`].
    Process {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// In this process; for tests.
    Here,
}

/// What the process is asked.
#[derive(Serialize, Deserialize)]
struct Question {
    expression: String,
    object: serde_json::Value,
}

impl Expressions {
    /// Whether the expression is true for the object.
    pub(crate) async fn is_true(&self, expression: &str, object: &serde_json::Value) -> Result<bool, Error> {
        match self {
            Self::Here => evaluate(expression, object).map_err(Error::Expression),
            Self::Process { program, arguments } => {
                let question = serde_json::to_vec(&serde_json::json!({"expression": expression, "object": object}));
                let question = question.map_err(|error| Error::Expression(error.to_string()))?;
                let answered = tokio::time::timeout(TIMEOUT, ask(program, arguments, &question)).await;
                answered.map_err(|_| {
                    Error::Expression(format!(
                        "it was not evaluated within {} s; make it simpler",
                        TIMEOUT.as_secs()
                    ))
                })?
            }
        }
    }
}

async fn ask(program: &PathBuf, arguments: &[String], question: &[u8]) -> Result<bool, Error> {
    let failed = |error: std::io::Error| Error::Expression(format!("cannot start its evaluation: {error}"));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A process that ends before it has read everything says so by its status.
        let _ = stdin.write_all(question).await;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    let answer: Option<Result<bool, String>> = serde_json::from_slice(&output.stdout).ok();
    match answer {
        Some(answer) => answer.map_err(Error::Expression),
        None => Err(Error::Expression(format!(
            "its evaluation ended without an answer ({}); make it simpler",
            output.status
        ))),
    }
}

/// Answers the question on the standard input; the `main` of [`Expressions::Process`].
pub fn evaluate_from_stdin() -> ExitCode {
    let answer = read_question().and_then(|question| evaluate(&question.expression, &question.object));
    let written = serde_json::to_vec(&answer).map(|answer| std::io::stdout().write_all(&answer));
    match written {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) | Err(_) => ExitCode::FAILURE,
    }
}

fn read_question() -> Result<Question, String> {
    let mut question = Vec::new();
    let read = std::io::stdin().read_to_end(&mut question);
    read.map_err(|error| error.to_string())?;
    serde_json::from_slice(&question).map_err(|error| error.to_string())
}

/// Whether the expression is true for the object; what is wrong with it if it is neither true nor false.
fn evaluate(expression: &str, object: &serde_json::Value) -> Result<bool, String> {
    let env = Arc::new(Env::stdlib());
    let program = env
        .compile(expression)
        .map_err(|errors| format!("does not compile: {}", one_line(&errors.to_string())))?;
    let mut context = Context::with_env(env.clone());
    context.add_variable_from_value("object", value(object));
    match program.execute(&context) {
        Ok(Value::Bool(is_true)) => Ok(is_true),
        Ok(other) => Err(format!("is of type {}, not bool", other.type_of())),
        Err(error) => Err(format!("cannot be evaluated: {}", one_line(&error.to_string()))),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// JSON as CEL sees objects of Kubernetes: whole numbers are integers with a sign.
fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(is_true) => Value::Bool(*is_true),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::String(Arc::new(text.clone())),
        serde_json::Value::Array(all) => Value::List(Arc::new(all.iter().map(value).collect())),
        serde_json::Value::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.clone().into(), value(field)));
            Value::Map(cel::objects::Map {
                map: Arc::new(fields.collect()),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ceph(health: &str) -> serde_json::Value {
        json!({
            "metadata": {"generation": 3, "labels": {"app": "ceph"}},
            "status": {"observedGeneration": 3, "ceph": {"health": health},
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Progressing", "status": "False"}]},
        })
    }

    #[test]
    fn an_expression_is_true_or_false_for_an_object() {
        let healthy = ceph("HEALTH_OK");
        for expression in [
            "object.status.ceph.health == 'HEALTH_OK'",
            "object.status.observedGeneration == object.metadata.generation",
            "object.status.observedGeneration >= 3 && !has(object.status.missing)",
            "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
            "object.status.ceph.health in ['HEALTH_OK', 'HEALTH_WARN']",
        ] {
            assert_eq!(evaluate(expression, &healthy), Ok(true), "{expression}");
        }
        let other = ceph("HEALTH_ERR");
        assert_eq!(evaluate("object.status.ceph.health == 'HEALTH_OK'", &other), Ok(false));
    }

    fn process(program: &str, arguments: &[&str]) -> Expressions {
        Expressions::Process {
            program: program.into(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        }
    }

    #[tokio::test]
    async fn an_evaluation_whose_process_ends_without_an_answer_is_an_error() {
        let crashes = process("/bin/sh", &["-c", "kill -ABRT $$"]);
        let said = crashes
            .is_true("true", &ceph("HEALTH_OK"))
            .await
            .unwrap_err()
            .to_string();
        assert!(said.contains("ended without an answer (signal: 6"), "{said}");
        let missing = process("/nonexistent", &[]);
        let said = missing
            .is_true("true", &ceph("HEALTH_OK"))
            .await
            .unwrap_err()
            .to_string();
        assert!(said.contains("cannot start its evaluation"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_evaluation_that_does_not_end_is_stopped() {
        let endless = process("/bin/sh", &["-c", "while true; do read x || sleep 1000; done"]);
        let said = endless
            .is_true("true", &ceph("HEALTH_OK"))
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(said, "expression: it was not evaluated within 5 s; make it simpler");
    }

    #[test]
    fn an_expression_that_is_neither_says_what_is_wrong_with_it() {
        let object = ceph("HEALTH_OK");
        let says = |expression: &str, words: &str| {
            let said = evaluate(expression, &object).unwrap_err();
            assert!(said.contains(words) && !said.contains('\n'), "{expression}: {said}");
        };
        says("object.status.", "does not compile");
        says("object.status.nothing.there == 1", "cannot be evaluated");
        says("object.status.ceph.health", "is of type string, not bool");
        says("missing == 1", "cannot be evaluated");
    }
}
