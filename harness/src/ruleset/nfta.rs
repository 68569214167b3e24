//! The kinds and attributes of messages, as `linux/netfilter/nf_tables.h` numbers them.

/// The type of a message of nf_tables; `kind` is one of `NFT_MSG_*`.
pub(crate) const fn message_type(kind: i32) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES << 8 | kind) as u16
}

/// `NFTA_TABLE_*`.
pub(crate) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    /// `NFT_TABLE_F_DORMANT`
    pub(crate) const DORMANT: u32 = 1;
}

/// `NFTA_CHAIN_*`.
pub(crate) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
}

/// `NFTA_HOOK_*`.
pub(crate) mod hook {
    pub(crate) const HOOKNUM: u16 = 1;
    pub(crate) const PRIORITY: u16 = 2;
    pub(crate) const DEV: u16 = 3;
    pub(crate) const DEVS: u16 = 4;
    /// `NFTA_DEVICE_NAME`
    pub(crate) const DEVICE_NAME: u16 = 1;
    /// `NFTA_DEVICE_PREFIX`
    pub(crate) const DEVICE_PREFIX: u16 = 2;
}

/// `NFTA_RULE_*`.
pub(crate) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const HANDLE: u16 = 3;
    pub(crate) const EXPRESSIONS: u16 = 4;
    pub(crate) const USERDATA: u16 = 7;
}

/// `NFTA_EXPR_*`.
pub(crate) mod expr {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DATA: u16 = 2;
}

/// `NFTA_SET_*`.
pub(crate) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LEN: u16 = 5;
    pub(crate) const DATA_TYPE: u16 = 6;
    pub(crate) const DATA_LEN: u16 = 7;
    pub(crate) const ID: u16 = 10;
    pub(crate) const USERDATA: u16 = 13;
}

/// `NFTA_SET_ELEM_LIST_*`.
pub(crate) mod elements {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const SET: u16 = 2;
    pub(crate) const ELEMENTS: u16 = 3;
    pub(crate) const SET_ID: u16 = 4;
}

/// `NFTA_SET_ELEM_*`.
pub(crate) mod element {
    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_END: u16 = 10;
    /// `NFT_SET_ELEM_INTERVAL_END`
    pub(crate) const INTERVAL_END: u32 = 1;
    /// `NFT_SET_ELEM_CATCHALL`
    pub(crate) const CATCHALL: u32 = 2;
}
