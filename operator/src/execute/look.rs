//! A last look at the API server where a view that lags would do harm: each watch lags by itself, and a version guards
//! only the object that is written.
//!
//! What was found goes to the next pass, not into this one: its writes stay guarded by the versions it was planned on.

use lockkeeper_crds::{NodeReboot, names};
use lockkeeper_observe::slim;

use super::{Error, Pass, failed};

impl Pass<'_> {
    /// The record still has the operation that the plan was made on, or none as the plan saw.
    ///
    /// The uncordon is guarded by the Node's uid alone: an operator whose view of the records lags would take the marks
    /// of a drain that another leader has begun for marks that nobody owns.
    pub(super) async fn same_operation(&self, step: &'static str, node: &str) -> Result<(), Error> {
        let id = |reboot: Option<&NodeReboot>| Some(reboot?.status.as_ref()?.operation.as_ref()?.id.clone());
        let planned = id(self.seen.reboots.get(node).map(AsRef::as_ref));
        let fresh = self.api.reboots.get_opt(node).await.map_err(failed(step, node))?;
        let found = id(fresh.as_ref());
        if let Some(fresh) = fresh {
            self.cache.absorb_reboot(fresh);
        }
        if found == planned {
            return Ok(());
        }
        let name = |id: Option<String>| id.map_or("no operation".to_owned(), |id| format!("operation {id}"));
        Err(Error::Stale {
            step,
            object: node.to_owned(),
            found: format!("it has {}, not {}", name(found), name(planned)),
        })
    }

    /// The Node does not carry the marks of an operation that is about to be forgotten.
    ///
    /// An operator whose view of the Nodes lags would free the slot of a node that is still cordoned, and let in another.
    pub(super) async fn without_marks(&self, node: &str, operation_id: &str) -> Result<(), Error> {
        const STEP: &str = "end the operation of";
        let Some(fresh) = self.api.nodes.get_opt(node).await.map_err(failed(STEP, node))? else {
            return Ok(());
        };
        let marked = slim::annotation(&fresh, names::OPERATION) == Some(operation_id);
        self.cache.absorb_node(fresh);
        if !marked {
            return Ok(());
        }
        Err(Error::Stale {
            step: STEP,
            object: node.to_owned(),
            found: format!("it carries the marks of operation {operation_id}"),
        })
    }

    /// The Node is in another boot than before: a view of the Nodes that lags may show a boot that is older still.
    pub(super) async fn another_boot(&self, node: &str, before: &str) -> Result<(), Error> {
        const STEP: &str = "see the reboot of";
        let fresh = self.api.nodes.get(node).await.map_err(failed(STEP, node))?;
        let same = fresh.status.node_info.boot_id == before;
        self.cache.absorb_node(fresh);
        if !same {
            return Ok(());
        }
        Err(Error::Stale {
            step: STEP,
            object: node.to_owned(),
            found: format!("it is still in boot {before}"),
        })
    }
}
