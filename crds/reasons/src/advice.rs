//! What a person can do about a reason.

use crate::{Installation, ReasonName};

const CONFINE_AGENTS: &str = "follow the remedy in the message, or start the operator with --accept-unconfined-agents \
                              (chart: operator.acceptUnconfinedAgents); the agents test again by themselves";

impl ReasonName {
    /// The next step of a person about a node that waits for this reason under `policy`; `None` if only time helps.
    pub fn advice(self, node: &str, policy: &str, installation: &Installation) -> Option<String> {
        let text = match self {
            Self::ViewIncomplete => {
                format!("if this lasts, read the operator's log: {}", installation.operator_logs())
            }
            Self::PolicyConflict => "narrow the nodeSelector of one of the policies: kubectl get rbp".to_owned(),
            Self::NoPolicy => "create a policy whose nodeSelector selects this node, or leave it alone".to_owned(),
            Self::Suspended => {
                format!("resume it: kubectl patch rbp {policy} --type merge -p '{{\"spec\":{{\"suspend\":false}}}}'")
            }
            Self::BeingDeleted => {
                format!("if a taint is stale, remove it: kubectl taint node {node} <key>-; the message names its key")
            }
            Self::Held => {
                format!("remove the hold: kubectl annotate node {node} lockkeeper.dev/hold- lockkeeper.dev/hold-until-")
            }
            Self::AwaitingApproval => {
                format!("approve it: kubectl annotate node {node} lockkeeper.dev/approved='<reason>'")
            }
            Self::AgentMissing | Self::AgentNotAnswering => installation.check_agent(node),
            Self::AgentIncapable => "follow the remedy in the message; the agent checks again by itself".to_owned(),
            Self::AgentNotConfined => CONFINE_AGENTS.to_owned(),
            Self::Inhibited => format!("let that program on {node} finish, or stop it"),
            Self::BreakerOpen => {
                "check the failed nodes, then retry or release them: kubectl lockkeeper status".to_owned()
            }
            Self::TooManyUnavailable => {
                "bring those nodes back, delete the Node of one that will not return (kubectl delete node NAME), or raise \
                 disruption.maxUnavailable"
                    .to_owned()
            }
            Self::NoFreeSlot => "no action needed; raise disruption.maxInProgress to reboot more at once".to_owned(),
            Self::Released => {
                format!("request another reboot: kubectl annotate node {node} lockkeeper.dev/reboot-requested='retry'")
            }
            Self::StillRequired => format!(
                "check which program on {node} still requires it, or request another reboot: kubectl annotate node {node} \
                 lockkeeper.dev/reboot-requested='retry'"
            ),
            Self::PreflightBlocked => {
                "repair the workload, raise its budget, or add a rule for it to drain.rules".to_owned()
            }
            Self::CheckUnavailable => format!(
                "make the source reachable, or change the check (onError: Ignore lets nodes start without it): kubectl edit rbp \
                 {policy}"
            ),
            Self::CheckFailing => {
                format!("repair what the check found, or change the check: kubectl edit rbp {policy}")
            }
            Self::HookRunning => "if this lasts, check what the hook waits for; the message says it".to_owned(),
            Self::HookUnavailable => {
                format!("follow the remedy in the message, or change the hook: kubectl edit rbp {policy}")
            }
            Self::HookFailed => repair_hook(node, policy, installation),
            Self::Uncordoned => format!(
                "to keep the node out of the rollout: kubectl annotate node {node} lockkeeper.dev/hold='<reason>'"
            ),
            Self::EvictionBlocked => {
                format!("repair the workload or raise its budget, or defer the node: kubectl lockkeeper cancel {node}")
            }
            Self::WriteRefused => "change the webhook, field manager, schema rule or role that the message names; the \
                                   operator tries again by itself"
                .to_owned(),
            Self::AwaitingExternalReboot => {
                format!("reboot {node} now, with its BMC, hypervisor or cloud API; the operator continues once it is back")
            }
            Self::PodStuck => "check that pod: its finalizers, its volumes, its node".to_owned(),
            Self::NodeNotReady => format!("if this lasts, check the node: kubectl describe node {node}"),
            Self::WorkloadsNotReady => "if this lasts, check the pods of these workloads: kubectl get pods -A -o wide; the next \
                                        node starts at the time that the message says at the latest"
                .to_owned(),
            Self::Failed => {
                format!("check the node, then: kubectl lockkeeper retry {node}, or: kubectl lockkeeper release {node}")
            }
            Self::JustBooted
            | Self::Excluded
            | Self::OutsideWindow
            | Self::DoesNotFitWindow
            | Self::CanarySoaking
            | Self::TopologyFull
            | Self::Pacing
            | Self::ControlPlaneBusy
            | Self::BackingOff
            | Self::ChecksPending
            | Self::Soaking
            | Self::Preparing
            | Self::NoticeGiven
            | Self::LoadBalancerDelay
            | Self::ResponderActive
            | Self::PodRunning
            | Self::PodTerminating
            | Self::VolumesAttached
            | Self::Rebooting
            | Self::RebootRefused => return None,
        };
        Some(text)
    }
}

fn repair_hook(node: &str, policy: &str, installation: &Installation) -> String {
    format!(
        "repair what the hook does (its Job's log: kubectl logs -n {} -l lockkeeper.dev/node={node}), or change the hook: \
                 kubectl edit rbp {policy}",
        installation.namespace
    )
}

#[cfg(test)]
mod tests {
    use crate::{Installation, ReasonName};

    #[test]
    fn every_reason_that_needs_a_person_says_what_to_do() {
        for reason in ReasonName::ALL {
            if reason.actor().needs_person() {
                let installation = Installation::in_namespace("ops");
                assert!(reason.advice("w-01", "workers", &installation).is_some(), "{reason}");
            }
        }
    }

    #[test]
    fn advice_names_the_namespace_of_the_installation_and_the_nodes_pod() {
        let mut installation = Installation::in_namespace("ops");
        let all = ReasonName::ALL.map(|reason| reason.advice("w-01", "workers", &installation));
        let all = all.into_iter().flatten().collect::<Vec<_>>().join(" ");
        assert!(
            all.contains("kubectl -n ops logs -l app.kubernetes.io/component=operator --prefix"),
            "{all}"
        );
        assert!(!all.contains("lockkeeper-system"), "{all}");
        installation.agent_pod = Some("agent-x7k2p".to_owned());
        for reason in [ReasonName::AgentMissing, ReasonName::AgentNotAnswering] {
            let advice = reason.advice("w-01", "workers", &installation).unwrap();
            assert!(advice.contains("kubectl -n ops logs agent-x7k2p -c agent"), "{advice}");
        }
    }
}
