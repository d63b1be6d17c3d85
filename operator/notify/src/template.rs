//! The template of a receiver.

use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind};

/// How many steps a template may take, so that a loop without an end ends.
const STEPS: u64 = 200_000;
/// The longest template.
pub(crate) const MAX_TEMPLATE: usize = 16 * 1024;

/// A template that can be rendered.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    environment: Environment<'static>,
    name: &'static str,
}

impl Template {
    /// Parses a template. In one of JSON, `{{ value }}` writes the value as JSON, with its quotes.
    pub(crate) fn parse(source: &str, is_json: bool) -> Result<Self, String> {
        if source.len() > MAX_TEMPLATE {
            return Err(format!("is longer than {MAX_TEMPLATE} bytes"));
        }
        // minijinja chooses by the suffix how values are escaped.
        let name = if is_json { "template.json" } else { "template.txt" };
        let mut environment = Environment::new();
        environment.set_fuel(Some(STEPS));
        let added = environment.add_template_owned(name, source.to_owned());
        added.map_err(|error| explain(&error))?;
        Ok(Self { environment, name })
    }

    /// The text that the template makes of these values.
    pub(crate) fn render(&self, values: &serde_json::Value) -> Result<String, String> {
        let template = self
            .environment
            .get_template(self.name)
            .map_err(|error| explain(&error))?;
        template
            .render(Value::from(Serde(values)))
            .map_err(|error| explain(&error))
    }
}

/// The error with its line, without the values that the template has.
fn explain(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    match error.kind() {
        ErrorKind::OutOfFuel => format!("takes more than {STEPS} steps{line}; shorten its loops"),
        kind => {
            let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("{kind}{line}{detail}")
        }
    }
}
