//! Integration tests for container-style networking on Linux.
//!
//! The map, from the bottom up:
//!
//! | module | what it is |
//! |---|---|
//! | [`error`], [`deadline`], [`mac`] | what all others use |
//! | [`mod@enter`], [`environment`] | the way into a user namespace for who is not root, and what the machine lacks |
//! | [`namespace`] | a network namespace: a descriptor, a way in, a way to run code inside |
//! | [`link`], [`addr`], [`route`], [`neigh`], [`fdb`] | one kernel object each, over netlink: requests |
//! | [`sysctl`], [`conntrack`] | settings, and the flows that the kernel remembers |
//! | [`firewall`] | nf_tables rules, written as `nft` would print them |
//! | [`watch`] | what the kernel announces, so that nobody sleeps |
//! | [`topology`] | what a lab looks like: plain data |
//! | [`protocol`] | the requests and replies of the driver protocol |
//! | [`world`] | the processes of a lab: their own PID, mount and cgroup namespaces |
//! | [`implement`] | who builds a topology: the built-in implementation, or a driver |
//! | [`lab`] | namespaces that live and die together |
//! | [`state`] | what a namespace holds, read from the kernel |
//! | [`probe`] | what the kernel really does |
//! | [`serve`] | test servers, which tell what they saw |
//! | [`inventory`] | all that someone can leave behind, and what changed |
//! | [`mod@explain`] | where a packet went missing, and why |
//! | [`mod@expect`] | look until a pattern holds |

pub mod addr;
pub mod conntrack;
pub mod deadline;
pub mod enter;
pub mod environment;
pub mod error;
pub mod expect;
pub mod explain;
pub mod fdb;
pub mod firewall;
pub mod implement;
pub mod inventory;
pub mod lab;
pub mod link;
pub mod mac;
pub mod namespace;
pub mod neigh;
pub mod probe;
pub mod protocol;
pub mod route;
pub mod serve;
pub mod state;
pub mod sysctl;
pub mod topology;
pub mod watch;
pub mod world;

mod labels;
mod netlink;
mod ruleset;
mod runtime;
mod settle;

pub use ipnet::IpNet;

pub use crate::{
    deadline::{Deadline, set_time_scale, time_scale},
    enter::enter_now,
    error::{Error, Result},
    expect::{Failure, given},
    explain::{Explanation, explain},
    inventory::{Change, Inventory},
    lab::{Lab, Node},
    mac::Mac,
    namespace::Namespace,
    netlink::Request,
    probe::{
        Carries, Journey, Probe, Seen, Watch,
        endpoint::Endpoint,
        filter::{self, Filter},
        forge,
        frame::Frame,
        frames::{Captured, Frames, Station},
        inject::Injector,
        outcome::{Heard, Outcome},
        ping::Ping,
        talk::{Talk, Talked},
        tap::Tap,
        target::Target,
    },
    serve::Server,
    topology::Topology,
    world::{Signal, World},
};
