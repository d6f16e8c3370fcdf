//! Observed state, reconcile, plan and execute for projects, over a port it declares.
