//! Where Lockkeeper runs in a cluster, for advice that names its pods.

/// The namespace of an installation, and the pod of the agent on the node that the advice is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The namespace of operator and agents.
    pub namespace: String,
    /// The agent's pod on the node; `None` if there is none or the reader may not list pods.
    pub agent_pod: Option<String>,
}

impl Installation {
    /// An installation in this namespace whose agent pod is not known.
    pub fn in_namespace(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            agent_pod: None,
        }
    }

    /// How to read the recent log of all operator pods: only one of them leads, and its name is in front of each line.
    pub fn operator_logs(&self) -> String {
        format!(
            "kubectl -n {} logs -l app.kubernetes.io/component=operator --prefix --tail=100",
            self.namespace
        )
    }

    /// How to check the agent of a node: the log of its pod, or where the pod should be.
    pub fn check_agent(&self, node: &str) -> String {
        let namespace = &self.namespace;
        match &self.agent_pod {
            Some(pod) => format!(
                "check its agent: kubectl -n {namespace} describe pod {pod}, and its log: \
                 kubectl -n {namespace} logs {pod} -c agent --tail=100"
            ),
            None => format!(
                "check its agent: kubectl -n {namespace} get pods -l app.kubernetes.io/component=node-agent \
                 --field-selector spec.nodeName={node} -o wide"
            ),
        }
    }
}
