//! The kernel's instructions. Source: `include/uapi/linux/netfilter/nf_tables.h`.

/// `NFT_REG_1`: 16 bytes, the same storage as `NFT_REG32_00` to `_03`.
pub(crate) const REGISTER_1: u32 = 1;
/// `NFT_REG_2`.
pub(crate) const REGISTER_2: u32 = 2;
/// `NFT_REG_3`.
pub(crate) const REGISTER_3: u32 = 3;
/// `NFT_REG_4`.
pub(crate) const REGISTER_4: u32 = 4;
/// `NFT_REG32_00`, the first of the registers of four bytes.
pub(crate) const REGISTER32_00: u32 = 8;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    /// Puts a fact about the packet into a register.
    Load { load: Load, to: u32 },
    /// Keeps only the bits of `mask`, then flips those of `xor`.
    Bitwise { from: u32, to: u32, mask: Vec<u8>, xor: Vec<u8> },
    /// Ends the rule unless the register compares so.
    Compare { register: u32, op: Op, data: Vec<u8> },
    /// Ends the rule unless the register is between both, or with `invert`, if it is.
    Range { register: u32, invert: bool, from: Vec<u8>, to: Vec<u8> },
    /// Ends the rule unless the register is in the set; with `verdict`, the set's element says what comes next.
    Lookup { register: u32, set: String, id: Option<u32>, invert: bool, to: Option<u32> },
    /// Puts a constant into a register.
    Constant { to: u32, data: Vec<u8> },
    /// Says what becomes of the packet.
    Verdict(Verdict),
    /// Writes a register to the packet's meta data.
    SetMeta { key: u32, from: u32 },
    /// Writes a register to the connection.
    SetCt { key: u32, from: u32 },
    /// Counts.
    Counter { packets: u64, bytes: u64 },
    /// Translates addresses.
    Nat { kind: NatKind, family: u32, address: [Option<u32>; 2], port: [Option<u32>; 2], flags: u32 },
    /// Translates the source to the address of the device that the packet leaves by.
    Masquerade { port: [Option<u32>; 2], flags: u32 },
    /// Translates the destination to this host.
    Redirect { port: [Option<u32>; 2], flags: u32 },
    /// Drops and tells the sender.
    Reject { kind: u32, code: u8 },
    /// Writes to the kernel's log.
    Log { prefix: Option<String>, group: Option<u16>, level: Option<u32> },
    /// Ends the rule where the rate is exceeded (`over`: where it is not).
    Limit { rate: u64, unit: u64, burst: u32, bytes: bool, over: bool },
    /// An extension of the old iptables, in the words of `ruleset::xt`: what it compares, or, a target, what it does.
    Xt { words: String, target: bool },
    /// What this program does not know.
    Other { name: String },
}

/// What is put into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// `NFT_META_*`.
    Meta(u32),
    /// `NFT_CT_*`; the direction, where the key has one: 0 original, 1 reply.
    Ct(u32, Option<u8>),
    /// Bytes of the packet: `NFT_PAYLOAD_*_HEADER`, the offset from it, the number.
    Payload { base: u32, offset: u32, len: u32 },
    /// A route look-up: `NFTA_FIB_F_*`, `NFT_FIB_RESULT_*`.
    Fib { flags: u32, result: u32 },
}

/// `NFT_CMP_*`, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Eq = 0,
    Ne = 1,
    Lt = 2,
    Le = 3,
    Gt = 4,
    Ge = 5,
}

impl Op {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Eq, Self::Ne, Self::Lt, Self::Le, Self::Gt, Self::Ge].into_iter().find(|op| *op as u32 == number)
    }

    pub(crate) fn symbol(self) -> &'static str {
        ["==", "!=", "<", "<=", ">", ">="][self as usize]
    }

    pub(crate) fn from_symbol(symbol: &str) -> Option<Self> {
        [Self::Eq, Self::Ne, Self::Lt, Self::Le, Self::Gt, Self::Ge].into_iter().find(|op| op.symbol() == symbol)
    }
}

/// What becomes of the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    Continue,
    Return,
    Jump(String),
    Goto(String),
    Queue,
}

impl Verdict {
    /// The kernel's code: `NF_*` where positive, `NFT_*` where negative.
    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::Drop => libc::NF_DROP,
            Self::Accept => libc::NF_ACCEPT,
            Self::Queue => libc::NF_QUEUE,
            Self::Continue => libc::NFT_CONTINUE,
            Self::Jump(_) => libc::NFT_JUMP,
            Self::Goto(_) => libc::NFT_GOTO,
            Self::Return => libc::NFT_RETURN,
        }
    }

    /// The verdict that `code` and `chain` stand for.
    pub(crate) fn from_code(code: i32, chain: Option<String>) -> Option<Self> {
        // NF_QUEUE carries the queue's number in its upper half.
        Some(match (code, chain) {
            (libc::NF_DROP, _) => Self::Drop,
            (libc::NF_ACCEPT, _) => Self::Accept,
            (libc::NFT_CONTINUE, _) => Self::Continue,
            (libc::NFT_RETURN, _) => Self::Return,
            (libc::NFT_JUMP, Some(chain)) => Self::Jump(chain),
            (libc::NFT_GOTO, Some(chain)) => Self::Goto(chain),
            (code, _) if code > 0 && code & 0xff == libc::NF_QUEUE => Self::Queue,
            _ => return None,
        })
    }
}

/// `NFT_NAT_*`, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatKind {
    Source = 0,
    Destination = 1,
}

/// `NF_NAT_RANGE_*`.
pub(crate) mod nat_flags {
    pub(crate) const PROTO_SPECIFIED: u32 = 1 << 1;
    pub(crate) const RANDOM: u32 = 1 << 2;
    pub(crate) const PERSISTENT: u32 = 1 << 3;
    pub(crate) const FULLY_RANDOM: u32 = 1 << 4;
}
