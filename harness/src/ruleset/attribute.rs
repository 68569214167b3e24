//! Netlink attributes, written and read.

use rtnetlink::packet_core::{DefaultNla, Emitable, NlasIterator};

/// An attribute with its padding.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let attribute = DefaultNla::new(kind, value.to_vec());
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

/// An attribute made of others.
pub(crate) fn nest(kind: u16, parts: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    const NESTED: u16 = 1 << 15;
    attribute(kind | NESTED, &parts.into_iter().flatten().collect::<Vec<u8>>())
}

/// A number in network order, as nf_tables has them all.
pub(crate) fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// A string with its closing zero.
pub(crate) fn string(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

/// Attributes that were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes(Vec<(u16, Vec<u8>)>);

impl Attributes {
    pub fn of(bytes: &[u8]) -> Self {
        let read = NlasIterator::new(bytes).flatten().map(|nla| (nla.kind() & 0x3fff, nla.value().to_vec()));
        Self(read.collect())
    }

    pub fn bytes(&self, kind: u16) -> Option<&[u8]> {
        self.0.iter().find(|(found, _)| *found == kind).map(|(_, value)| value.as_slice())
    }

    pub fn nested(&self, kind: u16) -> Self {
        self.bytes(kind).map(Self::of).unwrap_or_default()
    }

    pub fn number(&self, kind: u16) -> Option<u32> {
        self.bytes(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub fn long(&self, kind: u16) -> Option<u64> {
        self.bytes(kind)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub fn string(&self, kind: u16) -> Option<String> {
        let bytes = self.bytes(kind)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }

    pub fn all(&self, kind: u16) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(found, _)| *found == kind).map(|(_, value)| value.as_slice())
    }
}
