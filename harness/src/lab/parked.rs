//! Finished labs' namespaces, kept for a while.
//!
//! Taking a namespace down is asynchronous and holds the RTNL lock, about 18 ms for a lab, and who makes the next lab
//! waits for it. So descriptors of finished labs are kept, up to a bound, and the oldest let go one at a time:
//! thousands let go at once would stall the next user of RTNL for seconds.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

use crate::Namespace;

/// How many namespaces are kept: about 0.3 MB each of kernel memory. The kernel looks up a sysctl among those of all.
const BOUND: usize = 128;

static PARKED: Mutex<VecDeque<Vec<OwnedFd>>> = Mutex::new(VecDeque::new());

/// Keeps the namespaces' descriptors; their sockets and threads go with the lab, and so do their neighbours: those that
/// answered lately keep their places, some 30 s long, in tables that all namespaces of the machine share.
pub(super) fn park(namespaces: &[&Namespace]) {
    for namespace in namespaces {
        // A lab that is in no state to be asked is given up all the same.
        let _ = namespace.flush_neighbours();
    }
    let descriptors = namespaces.iter().filter_map(|namespace| namespace.as_fd().try_clone_to_owned().ok()).collect();
    let mut parked = PARKED.lock().unwrap_or_else(PoisonError::into_inner);
    parked.push_back(descriptors);
    let mut oldest = Vec::new();
    while parked.iter().map(Vec::len).sum::<usize>() > BOUND {
        oldest.extend(parked.pop_front());
    }
    drop(parked);
    drop(oldest);
}
