//! Reading all the rules that there are.

use std::collections::BTreeSet;

use super::{Chain, Family, Hook, Rule, Ruleset, Table};
use crate::{
    Error, Result,
    ruleset::{
        attribute::{Attributes, string},
        chain, decode,
        lift::lift,
        nfta::{self, message_type},
        set::{KernelSet, flags},
        socket::NetfilterSocket,
        statement,
    },
};

/// One look at everything; `generations` gets the numbers of the rulesets that its lists are of.
pub(super) fn ruleset(socket: &NetfilterSocket, generations: &mut BTreeSet<u16>) -> Result<Ruleset> {
    let mut dump = |doing: &str, kind: i32| -> Result<Vec<(Family, Attributes)>> {
        let parts = socket.dump(doing, message_type(kind), 0, &[])?;
        generations.extend(parts.iter().map(|part| part.generation));
        Ok(parts.into_iter().filter_map(|part| Some((Family::of(part.family)?, part.attributes))).collect())
    };
    let tables = dump("listing tables", libc::NFT_MSG_GETTABLE)?;
    if tables.is_empty() {
        return Ok(Ruleset::default());
    }
    let chains = dump("listing chains", libc::NFT_MSG_GETCHAIN)?;
    let rules = dump("listing rules", libc::NFT_MSG_GETRULE)?;
    let sets = read_sets(socket, generations)?;
    let mut ruleset = Ruleset::default();
    for (family, table) in tables {
        ruleset.tables.push(Table {
            family,
            name: table.string(nfta::table::NAME).unwrap_or_default(),
            dormant: table.number(nfta::table::FLAGS).unwrap_or(0) & nfta::table::DORMANT != 0,
            sets: Vec::new(),
            chains: Vec::new(),
        });
    }
    for (family, chain) in chains {
        let name = chain.string(nfta::chain::TABLE).unwrap_or_default();
        if let Some(table) = ruleset.tables.iter_mut().find(|table| table.family == family && table.name == name) {
            table.chains.push(read_chain(family, &chain));
        }
    }
    for (family, table, set) in sets.iter().filter(|(_, _, set)| set.flags & flags::ANONYMOUS == 0) {
        let mut tables = ruleset.tables.iter_mut();
        if let Some(table) = tables.find(|known| known.family as u8 == *family && known.name == *table) {
            table.sets.push(set.print());
        }
    }
    for (family, rule) in rules {
        let [table, chain] = [nfta::rule::TABLE, nfta::rule::CHAIN].map(|kind| rule.string(kind).unwrap_or_default());
        let own = sets.iter().filter(|(of, name, _)| *of == family as u8 && *name == table);
        let own: Vec<KernelSet> = own.map(|(_, _, set)| set.clone()).collect();
        let table = ruleset.tables.iter_mut().find(|known| known.family == family && known.name == table);
        if let Some(chain) = table.and_then(|table| table.chains.iter_mut().find(|known| known.name == chain)) {
            chain.rules.push(read_rule(family, &rule, &own));
        }
    }
    Ok(ruleset)
}

type OwnedSet = (u8, String, KernelSet);

/// Every set, with its elements.
fn read_sets(socket: &NetfilterSocket, generations: &mut BTreeSet<u16>) -> Result<Vec<OwnedSet>> {
    let mut sets = Vec::new();
    for found in socket.dump("listing sets", message_type(libc::NFT_MSG_GETSET), 0, &[])? {
        generations.insert(found.generation);
        let (Some(table), Some(mut set)) = (found.attributes.string(nfta::set::TABLE), decode::set(&found.attributes))
        else {
            continue;
        };
        let of_set = [string(nfta::elements::TABLE, &table), string(nfta::elements::SET, &set.name)];
        let kind = message_type(libc::NFT_MSG_GETSETELEM);
        match socket.dump("listing a set's elements", kind, found.family, &of_set) {
            Ok(parts) => {
                generations.extend(parts.iter().map(|part| part.generation));
                set.elements = parts.iter().flat_map(|part| decode::elements(&part.attributes)).collect();
            }
            // It has gone since it was listed, and another look will be taken.
            Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => {
                generations.insert(found.generation.wrapping_add(1));
            }
            Err(error) => return Err(error),
        }
        sets.push((found.family, table, set));
    }
    Ok(sets)
}

fn read_chain(family: Family, chain: &Attributes) -> Chain {
    let place = chain.nested(nfta::chain::HOOK);
    let hook = place.number(nfta::hook::HOOKNUM).map(|number| Hook {
        kind: chain.string(nfta::chain::TYPE).unwrap_or_else(|| "filter".into()),
        hook: chain::name_of(family, number).to_owned(),
        devices: read_devices(&place),
        priority: place.number(nfta::hook::PRIORITY).unwrap_or(0) as i32,
        drops: chain.number(nfta::chain::POLICY) == Some(0),
    });
    Chain { name: chain.string(nfta::chain::NAME).unwrap_or_default(), hook, rules: Vec::new() }
}

/// All devices of a chain are listed, by their names or, from Linux 6.17 on, by the beginnings of those; kernels before 5.5
/// say one.
fn read_devices(place: &Attributes) -> Vec<String> {
    let name = |bytes: &[u8]| String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned();
    let listed = place.nested(nfta::hook::DEVS);
    let names = listed.all(nfta::hook::DEVICE_NAME).map(name);
    let all: Vec<String> = names.chain(listed.all(nfta::hook::DEVICE_PREFIX).map(|bytes| name(bytes) + "*")).collect();
    if all.is_empty() { place.string(nfta::hook::DEV).into_iter().collect() } else { all }
}

fn read_rule(family: Family, rule: &Attributes, sets: &[KernelSet]) -> Rule {
    let statements = lift(family, &decode::exprs(&rule.nested(nfta::rule::EXPRESSIONS)), sets);
    Rule {
        handle: rule.long(nfta::rule::HANDLE).unwrap_or(0),
        text: statement::print(&statements),
        comment: rule.bytes(nfta::rule::USERDATA).and_then(decode::comment),
        statements,
    }
}
