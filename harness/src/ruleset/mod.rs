//! The language of nf_tables rules, between text and kernel.
//!
//! ```text
//!  text  --parse-->  Statement  --lower-->  Expr  --encode-->  netlink attributes
//!        <--print--             <--lift---        <--decode--
//! ```
//! A [`Statement`](statement::Statement) is what one reads in a rule: `tcp dport 80`, `masquerade`. An
//! [`Expr`](expr::Expr) is one instruction of the kernel's register machine: load, compare, verdict. A match on a
//! header needs a match on the protocol before it: `lower` puts it in, `lift` takes it out, as `nft` does.
//!
//! The messages are made of `packet_core`'s generic attributes: what a rule is made of is a handful of instructions, each
//! with two to five attributes, whose numbers stand in `linux/netfilter/nf_tables.h`.

pub(crate) mod attribute;
pub(crate) mod chain;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod expr;
pub(crate) mod field;
pub(crate) mod kind;
pub(crate) mod lift;
pub(crate) mod lower;
pub(crate) mod names;
pub(crate) mod nfta;
pub(crate) mod parse;
pub(crate) mod set;
pub(crate) mod socket;
pub(crate) mod statement;
pub(crate) mod tokens;
mod xt;
