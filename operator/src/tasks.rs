//! What runs beside the reconcile loop: drains, preflights, DaemonSet probes and forecasts.

pub mod daemon_set_probes;
pub mod drains;
pub mod forecasts;
pub mod preflights;
